"""Exact tiling of anything that maps an image to one ``scale`` times the size. Imports nothing from this package.

A convolutional network's output pixel depends on input pixels within a fixed radius. A tile that is computed
with a margin (halo) of that radius, which is then cut off, equals the same part of the whole result: there is
no seam, and nothing to blend. At the picture's own border there is no halo, so the network pads as it would
for the whole picture.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Window:
    """One tile: ``rows`` and ``columns`` (start, stop) in input pixels, and the same with the halo to read."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    read_rows: slice
    read_columns: slice

    def place(self, scale: int, *, top: int = 0) -> tuple[slice, slice]:
        """Where the tile goes in the output, whose first row is that of input row ``top``."""
        return (
            slice((self.rows[0] - top) * scale, (self.rows[1] - top) * scale),
            slice(self.columns[0] * scale, self.columns[1] * scale),
        )

    def keep(self, scale: int) -> tuple[slice, slice]:
        """The part of the window's output that is left when the halo is cut off."""
        return (
            slice((self.rows[0] - self.read_rows.start) * scale, (self.rows[1] - self.read_rows.start) * scale),
            slice(
                (self.columns[0] - self.read_columns.start) * scale,
                (self.columns[1] - self.read_columns.start) * scale,
            ),
        )


def _cuts(start: int, stop: int, tile: int) -> list[tuple[int, int]]:
    """``start`` to ``stop`` in the fewest pieces of at most ``tile``, of nearly the same length."""
    pieces = -(-(stop - start) // tile)
    edges = [start + (stop - start) * piece // pieces for piece in range(pieces + 1)]
    return list(itertools.pairwise(edges))


def rows_of_windows(height: int, width: int, *, tile: int, halo: int, top: int = 0) -> Iterator[list[Window]]:
    """Cover rows ``top`` to ``height`` of a picture, one row of tiles after another.

    Args:
        height: of the input, at least 1.
        width: of the input, at least 1.
        tile: longest side of a tile in input pixels without its halo, at least 1.
        halo: input pixels read beyond each side of a tile, where the picture has them.
        top: first row to cover; what lies above is read as halo.
    """
    for rows in _cuts(top, height, tile):
        yield [
            Window(
                rows=rows,
                columns=columns,
                read_rows=slice(max(rows[0] - halo, 0), min(rows[1] + halo, height)),
                read_columns=slice(max(columns[0] - halo, 0), min(columns[1] + halo, width)),
            )
            for columns in _cuts(0, width, tile)
        ]


def tiled(function: Callable[[Tensor], Tensor], image: Tensor, *, scale: int, tile: int, halo: int) -> Tensor:
    """Return ``function(image)``, computed tile by tile.

    Args:
        function: (B, C, h, w) to (B, D, scale*h, scale*w), for any h and w.
        image: (B, C, H, W).
        scale: how many times larger the output is.
        tile: longest side of a tile in input pixels, without its halo.
        halo: input pixels on each side that an output pixel can depend on, rounded up: then the result is
            that of the whole image, to rounding.
    """
    height, width = image.shape[-2:]
    if tile >= max(height, width):
        return function(image)
    result: Tensor | None = None
    for row in rows_of_windows(height, width, tile=tile, halo=halo):
        for window in row:
            part = function(image[..., window.read_rows, window.read_columns])
            if result is None:
                shape = (*part.shape[:2], height * scale, width * scale)
                channels_last = part.is_contiguous(memory_format=torch.channels_last)
                layout = torch.channels_last if channels_last else torch.contiguous_format
                result = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=layout)
            result[(..., *window.place(scale))] = part[(..., *window.keep(scale))]
    assert result is not None
    return result
