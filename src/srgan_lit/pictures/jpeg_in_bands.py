"""JPEG written band by band: any size in little memory.

Pillow encodes a whole picture in memory. A JPEG may restart its predictions at regular intervals, though (ITU-T T.81,
B.2.4.4 and E.1.4), so that bands which Pillow encodes apart, with the same tables, can follow each other in one scan:
the file decodes to the very pixels of the same picture encoded at once.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from srgan_lit.pictures import pil_arrays

_BLOCK = 8  # pixels a side, of what is encoded together where no channel is subsampled
_MOST = 65535  # blocks between restarts
_BAND_PIXELS = 2**20  # encoded at a time
QUALITY = 95
_FRAME, _SCAN, _INTERVAL, _RESTART, _END = 0xC0, 0xDA, 0xDD, 0xD0, b"\xff\xd9"


def _even(bands: Iterable[NDArray[np.uint8]], rows: int) -> Iterator[NDArray[np.uint8]]:
    """The same picture in bands of ``rows``; the last may have fewer."""
    begun: NDArray[np.uint8] | None = None
    for band in bands:
        if begun is not None:
            missing = rows - len(begun)
            begun, band = np.concatenate([begun, band[:missing]]), band[missing:]
            if len(begun) < rows:
                continue
            yield begun
        whole = len(band) // rows * rows
        for first in range(0, whole, rows):
            yield band[first : first + rows]
        begun = band[whole:].copy() if whole < len(band) else None  # not a view, which would keep all of it
    if begun is not None:
        yield begun


def _parts(encoded: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The segments (marker, content) of a JPEG up to its scan's header, and the scan without the end marker."""
    segments, at = [], 2
    while True:
        marker, length = encoded[at + 1], struct.unpack_from(">H", encoded, at + 2)[0]
        segments.append((marker, encoded[at + 4 : at + 2 + length]))
        at += 2 + length
        if marker == _SCAN:
            return segments, encoded[at:].removesuffix(_END)


def _segment(file: BinaryIO, marker: int, content: bytes) -> None:
    file.write(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content)


def write(
    file: BinaryIO,
    shape: tuple[int, int, int],
    bands: Iterable[NDArray[np.uint8]],
    *,
    quality: int | None = None,
    **options: Any,
) -> None:
    """Write a JPEG of ``shape`` (H, W, C), grey or RGB, whose ``bands`` (rows, W, C) uint8 come from top to bottom.

    ``quality`` is 1 to 100, None for 95. ``options`` are Pillow's: ``icc_profile``, ``exif``, ``dpi``.
    """
    quality = QUALITY if quality is None else quality
    height, width, _ = shape
    across = -(-width // _BLOCK)
    down = max(1, min(_MOST // across, _BAND_PIXELS // (width * _BLOCK)))
    for number, band in enumerate(_even(bands, down * _BLOCK)):
        encoded = io.BytesIO()
        pil_arrays.to_image(band).save(encoded, "JPEG", quality=quality, subsampling=0, **({} if number else options))
        segments, scan = _parts(encoded.getvalue())
        if number == 0:
            file.write(b"\xff\xd8")
            for marker, content in segments:
                if marker == _FRAME:  # its precision, then the height
                    content = content[:1] + struct.pack(">H", height) + content[3:]
                elif marker == _SCAN:
                    _segment(file, _INTERVAL, struct.pack(">H", down * across))
                _segment(file, marker, content)
        else:
            file.write(bytes([0xFF, _RESTART + (number - 1) % 8]))
        file.write(scan)
    file.write(_END)
