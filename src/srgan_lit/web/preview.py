"""A picture as any browser can show it: 8 bits, PNG, shrunk by whole factors where it is very large."""

import math
from pathlib import Path

import numpy as np

from srgan_lit.pictures import pil_arrays
from srgan_lit.pictures.pil_arrays import Pixels

MOST_PIXELS = 16_000_000
LONGEST_PX = 16_000


class Preview:
    """Collects bands (rows, W, C) of a picture of (H, W), uint8 or uint16, from top to bottom."""

    def __init__(self, height: int, width: int) -> None:
        factor = max(math.ceil(math.sqrt(height * width / MOST_PIXELS)), math.ceil(max(height, width) / LONGEST_PX))
        self._rows, self._columns = min(factor, height), min(factor, width)
        self._rest: list[Pixels] = []
        self._done: list[Pixels] = []

    def add(self, band: Pixels) -> None:
        """Add the next rows. Rows and columns that the factor does not divide are cut off at the bottom and right."""
        band = np.concatenate([*self._rest, band])
        height, width = band.shape[0] // self._rows, band.shape[1] // self._columns
        self._rest = [band[height * self._rows :]]
        whole = band[: height * self._rows, : width * self._columns]
        if self._rows * self._columns > 1:
            blocks = whole.reshape(height, self._rows, width, self._columns, band.shape[2])
            whole = blocks.mean(axis=(1, 3), dtype=np.float32).round().astype(band.dtype)
        self._done.append(whole if band.dtype == np.uint8 else (whole // 257).astype(np.uint8))

    def save(self, path: Path, icc_profile: bytes | None) -> None:
        """Write what was collected as PNG."""
        image = pil_arrays.to_image(np.concatenate(self._done))
        image.save(path, format="PNG", compress_level=1, icc_profile=icc_profile)
