"""The regions of a picture with the largest error, to be shown enlarged."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Box(NamedTuple):
    """A square of HR pixels: its top left corner and its side."""

    x: int
    y: int
    side: int


def hardest(srs: Collection[NDArray[np.uint8]], hr: NDArray[np.uint8], *, count: int, side: int) -> list[Box]:
    """The ``count`` squares that do not overlap with the largest squared error, hardest first.

    The error of a pixel is the smallest of ``srs`` (each (H, W, 3) uint8, like ``hr``): hard is what none gets
    right, and one bad model does not choose where all are looked at. Fewer are returned where no more fit;
    ``side`` is cut to the picture's.
    """
    height, width = hr.shape[:2]
    side = min(side, height, width)
    errors = [np.square(sr.astype(np.float32) - hr).mean(axis=2) for sr in srs]
    total = np.zeros((height + 1, width + 1))  # total[y, x] sums the rows above y and the columns left of x
    total[1:, 1:] = np.minimum.reduce(errors).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    inside = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    boxes: list[Box] = []
    while len(boxes) < count and np.isfinite(inside.max()):
        y, x = (int(i) for i in np.unravel_index(inside.argmax(), inside.shape))
        boxes.append(Box(x, y, side))
        inside[max(0, y - side + 1) : y + side, max(0, x - side + 1) : x + side] = -np.inf
    return boxes


def cut(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The box's part of (H, W, 3) pixels."""
    return pixels[box.y : box.y + box.side, box.x : box.x + box.side]
