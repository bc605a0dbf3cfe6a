"""PNG written band by band: any size in little memory, 8 and 16 bits, with colour profile, EXIF and resolution.

Pillow writes PNG from a whole picture in memory, and holds 16 bits for grey only. The format: ISO/IEC 15948.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels
_LEVEL = 4  # zlib's; 6 takes twice as long for 1 % less


def _chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> bytes:
    """Filter (n, bytes) uint8 ``rows``, each by the type whose differences are smallest (section 12.8).

    ``above`` is the row before the first; ``step`` is the bytes of a pixel.
    """
    up = np.concatenate([above[None], rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
    # Paeth: of left, up and corner the one nearest to left + up - corner; ties in this order.
    to_left = np.abs(up.astype(np.int16) - corner)
    to_up = np.abs(left.astype(np.int16) - corner)
    to_corner = np.abs(up.astype(np.int16) + left - 2 * corner.astype(np.int16))
    by_up = np.where(to_up <= to_corner, up, corner)
    paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, by_up)
    candidates = {0: rows, 1: rows - left, 2: rows - up, 4: rows - paeth}
    cost = np.stack([np.abs(tried.view(np.int8).astype(np.int16)).sum(axis=1) for tried in candidates.values()])
    best = cost.argmin(axis=0)
    result = np.empty((rows.shape[0], rows.shape[1] + 1), dtype=np.uint8)
    for choice, (number, tried) in enumerate(candidates.items()):
        result[best == choice, 0] = number
        result[best == choice, 1:] = tried[best == choice]
    return result.tobytes()


def write(
    file: BinaryIO,
    shape: tuple[int, int, int],
    bands: Iterable[NDArray[Any]],
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    colours: Mapping[bytes, bytes] = MappingProxyType({}),
    xmp: bytes | None = None,
) -> None:
    """Write a PNG of ``shape`` (H, W, C) whose ``bands`` (rows, W, C), uint8 or uint16, come from top to bottom.

    ``colours`` are chunks that come before the pixels: gAMA, cHRM, sRGB, cICP.
    """
    height, width, channels = shape
    compressor, above = zlib.compressobj(_LEVEL), None
    for band in bands:
        depth = band.dtype.itemsize
        if above is None:
            file.write(b"\x89PNG\r\n\x1a\n")
            _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * depth, _COLOUR_TYPES[channels], 0, 0, 0))
            for kind, content in colours.items():
                _chunk(file, kind, content)
            if icc_profile:
                _chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile))
            if exif:
                _chunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
            if xmp:
                _chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
            if dpi:
                _chunk(file, b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1))
            above = np.zeros(width * channels * depth, dtype=np.uint8)
        big_endian = np.ascontiguousarray(band, dtype=band.dtype.newbyteorder(">"))
        rows = big_endian.view(np.uint8).reshape(band.shape[0], -1)
        # A few MB at a time: filtering needs many times the rows' memory.
        several = max(1, 2**21 // rows.shape[1])
        for first in range(0, rows.shape[0], several):
            some = rows[first : first + several]
            if compressed := compressor.compress(_filtered(some, above, channels * depth)):
                _chunk(file, b"IDAT", compressed)
            above = some[-1]
    _chunk(file, b"IDAT", compressor.flush())
    _chunk(file, b"IEND", b"")
