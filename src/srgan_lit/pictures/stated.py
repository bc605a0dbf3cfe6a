"""What a file's own bytes state and Pillow leaves out: colour codes, WebP's size and coding, parts of phones' files."""

import re
from collections.abc import Iterator
from pathlib import Path

_HEAD_BYTES = 2**20  # that are looked through for parts of phones' files
_NESTED = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # boxes that lead to properties, and what precedes those inside
_PARTS = {
    "gain map (HDR)": rb"hdrgainmap|hdrgm:Version|urn:iso:std:iso:ts:21496:-1",
    "depth map": rb"aux:disparity|auxid:2\0|GDepth:|aux:depth",
    "motion part": rb"MotionPhoto=\"1|MicroVideo=\"1|MotionPhoto>1",
}


def png_chunk(path: Path, wanted: bytes) -> bytes | None:
    """The content of a PNG's first chunk of a kind, before its pixels (ISO/IEC 15948, 5.3); None if it has none."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            if head[4:] == wanted:
                return file.read(min(int.from_bytes(head[:4], "big"), _HEAD_BYTES))
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return None


def colour_codes(path: Path, kind: str) -> tuple[int, int] | None:
    """Primaries and transfer as ITU-T H.273 numbers them: of PNG's cICP, HEIF's and AVIF's nclx; None if not said."""
    if kind == "PNG":
        chunk = png_chunk(path, b"cICP") or b""
        return (chunk[0], chunk[1]) if len(chunk) == 4 else None
    if kind not in ("HEIF", "AVIF"):
        return None
    for content in _properties(path.read_bytes()):
        if content[:4] == b"nclx" and len(content) >= 8:
            return int.from_bytes(content[4:6], "big"), int.from_bytes(content[6:8], "big")
    return None


def _properties(content: bytes) -> Iterator[bytes]:
    """The contents of the boxes ``colr`` of a file in ISO base media format (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= len(content):
        size, kind, begin = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8], at + 8
        if size == 1:
            size, begin = int.from_bytes(content[begin : begin + 8], "big"), begin + 8
        size = size or len(content) - at
        if size < begin - at:
            return
        if kind in _NESTED:
            yield from _properties(content[begin + _NESTED[kind] : at + size])
        elif kind == b"colr":
            yield content[begin : at + size]
        at += size


def webp_canvas(path: Path) -> tuple[int, int] | None:
    """Height and width of a WebP file by its first bytes (RFC 9649, RFC 6386); None of any other."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(30)
    if len(start) < 30 or start[:4] != b"RIFF" or start[8:12] != b"WEBP":
        return None
    if start[12:16] == b"VP8X":
        return int.from_bytes(start[27:30], "little") + 1, int.from_bytes(start[24:27], "little") + 1
    if start[12:16] == b"VP8L":
        sides = int.from_bytes(start[21:25], "little")
        return (sides >> 14) % 2**14 + 1, sides % 2**14 + 1
    return int.from_bytes(start[28:30], "little") % 2**14, int.from_bytes(start[26:28], "little") % 2**14


def webp_is_lossless(path: Path) -> bool:
    """Whether the first picture of a WebP file is: its chunks are walked, however large those before it are."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8L", b"VP8 "):
                return head[:4] == b"VP8L"
            size = int.from_bytes(head[4:], "little")
            # A frame of an animation holds 16 bytes, then chunks of its own.
            file.seek(16 if head[:4] == b"ANMF" else size + size % 2, 1)
    return False


def parts(path: Path) -> list[str]:
    """What a phone's JPEG or HEIC holds besides its picture: gain map, depth map, motion; none of it is enlarged."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return [name for name, pattern in _PARTS.items() if re.search(pattern, head)]
