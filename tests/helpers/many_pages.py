"""TIFF files of very many pages that share their pixels: small, and within every limit of size."""

import struct


def tiff(pages: int, *, side: int = 8, bits: int = 8) -> bytes:
    """Grey pages of ``side`` by ``side`` pixels, in a classic TIFF."""
    pixels = bytes(side * side * bits // 8)
    first = 8 + len(pixels) + len(pixels) % 2
    tags = [
        (256, side),
        (257, side),
        (258, bits),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, side),
        (279, len(pixels)),
    ]
    length = 2 + 12 * len(tags) + 4
    written = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directories = (
        written + struct.pack("<I", first + length * (page + 1) if page < pages - 1 else 0) for page in range(pages)
    )
    return b"II*\0" + struct.pack("<I", first) + pixels.ljust(first - 8, b"\0") + b"".join(directories)
