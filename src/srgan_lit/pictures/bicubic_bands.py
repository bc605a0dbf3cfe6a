"""Bicubic resizing of a picture that comes in bands, from top to bottom: it is never whole in memory.

The same definition as ``bicubic.py``, to the last bit, for uint8; for uint16 it rounds to that, for floating point not
at all. Transparent pictures are resized with their colours weighted by their alpha: what hides has no colour.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan_lit.pictures import bicubic

Pixels = NDArray[Any]


def resize(bands: Iterable[Pixels], before: tuple[int, int], after: tuple[int, int]) -> Iterator[Pixels]:
    """Yield a picture, resized, in bands as well.

    Args:
        bands: (rows, W, C) each, uint8, uint16 or floating point in [0, 1]; C is 2 or 4 with alpha as the last channel.
        before: height and width of the picture that ``bands`` make up.
        after: height and width of the result.

    Yields:
        (rows, width, C) of the same dtype, ``height`` rows in all.
    """
    if before == after:
        yield from bands
        return
    positions, weights = bicubic.taps(before[0], after[0])
    lowest, highest = positions.min(axis=1), positions.max(axis=1)
    held: Pixels | None = None  # rows that are still needed, from row ``top`` of the picture
    top = ready = 0  # rows of the result that have been yielded
    for band in bands:
        held = band if held is None else np.concatenate([held, band])
        stop = int(np.searchsorted(highest, top + len(held)))  # rows of the result whose sources are all here
        if stop > ready:
            yield _resized(held, positions[ready:stop] - top, weights[ready:stop], after[1])
            ready = stop
        needed = int(lowest[ready]) if ready < after[0] else top + len(held)
        held, top = held[needed - top :].copy(), needed  # not a view, which would keep all of it


def _resized(pixels: Pixels, positions: NDArray[np.intp], weights: NDArray[np.float64], width: int) -> Pixels:
    transparent = pixels.shape[2] in (2, 4)
    if not transparent or (pixels[..., -1] == _white(pixels.dtype)).all():
        rows = bicubic.rounded(bicubic.weighted_rows(pixels, positions, weights), pixels.dtype)
        return bicubic.along_columns(rows, width)
    alpha = pixels[..., -1:].astype(np.float64)
    weighted = np.concatenate([pixels[..., :-1] * alpha, alpha], axis=-1)
    weighted = bicubic.weighted_rows(weighted, positions, weights).swapaxes(0, 1)
    if width != weighted.shape[0]:
        weighted = bicubic.weighted_rows(weighted, *bicubic.taps(weighted.shape[0], width))
    weighted = weighted.swapaxes(0, 1)
    alpha = weighted[..., -1:]
    colour = np.divide(
        weighted[..., :-1], alpha, out=np.zeros_like(weighted[..., :-1]), where=alpha > 1e-3 * _white(pixels.dtype)
    )
    return bicubic.rounded(np.concatenate([colour, alpha], axis=-1), pixels.dtype)


def _white(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1
