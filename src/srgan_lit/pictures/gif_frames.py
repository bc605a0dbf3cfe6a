"""The frames of a GIF as they are shown: each drawn over what those before it left (GIF89a, sections 18 to 23).

Pillow decodes each frame's own pixels; what it draws them over is not what viewers show: a frame that asks for no
disposal gets that of an earlier one, and what is cleared is painted in the colour of the background where the frame
has no clear one. Here, as in browsers, what no frame covers is clear.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_CLEARED, _RESTORED = 2, 3  # how a frame is disposed of (section 23); all else stays


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What one frame draws: where, a GIF of it alone, and how it is disposed of."""

    left: int
    top: int
    width: int
    height: int
    disposal: int
    alone: bytes

    def pixels(self, height: int, width: int) -> NDArray[Any]:
        """RGBA (height, width, 4): the upper left of it."""
        with Image.open(io.BytesIO(self.alone), formats=["GIF"]) as image:
            return np.asarray(image.crop((0, 0, width, height)).convert("RGBA"))


def drawn(path: Path, image: Image.Image) -> "GifFrames | None":
    """The frames of a GIF that Pillow shows otherwise: of several frames, or of one that leaves pixels uncovered.

    Args:
        path: of the file.
        image: as Pillow has opened it, its pixels not loaded.

    Raises:
        Exception: of many kinds, for a damaged file.
    """
    if image.format != "GIF":
        return None
    whole = not image.is_animated and image.tile[0].extents == (0, 0, *image.size)  # type: ignore[attr-defined]
    return None if whole else GifFrames(path)


class GifFrames:
    """The frames of the GIF in ``path``; ``frame(n)`` is cheapest in their order."""

    def __init__(self, path: Path) -> None:
        content = io.BytesIO(path.read_bytes())
        self._parts = list(_parts(content))
        content.seek(6)
        width, height = struct.unpack("<HH", content.read(4))
        first = self._parts[0]  # may be larger than the screen; others are cut
        self._shape = max(height, first.top + first.height), max(width, first.left + first.width), 4
        self._next, self._canvas = 0, np.zeros(self._shape, np.uint8)

    def frame(self, number: int) -> NDArray[Any]:
        """RGBA (H, W, 4)."""
        if number < self._next:
            self._next, self._canvas = 0, np.zeros(self._shape, np.uint8)
        while True:
            shown = self._draw(self._parts[self._next])
            self._next += 1
            if self._next > number:
                return shown

    def _draw(self, part: _Part) -> NDArray[Any]:
        before = self._canvas.copy()
        place = np.s_[part.top : part.top + part.height, part.left : part.left + part.width]
        if (covered := self._canvas[place]).size:
            drawn = part.pixels(*covered.shape[:2])
            np.copyto(covered, drawn, where=drawn[..., 3:] > 0)
        shown = self._canvas.copy()
        if part.disposal == _CLEARED:
            self._canvas[place] = 0
        elif part.disposal == _RESTORED:
            self._canvas = before
        return shown


def _parts(content: io.BytesIO) -> Iterator[_Part]:
    """Those of a file, up to its end or where it is cut."""
    flags = content.read(13)[10]
    colours = _table(content, flags)
    control = b"\0\0\0\0"  # flags, time (2), clear colour: of the next frame
    while (kind := content.read(1)) not in (b"", b";"):
        if kind == b"!":
            label = content.read(1)
            blocks = _blocks(content)
            if label == b"\xf9" and len(blocks) > 4:
                control = blocks[1:5]
        elif kind == b",":
            left, top, width, height, flags = struct.unpack("<HHHHB", content.read(9))
            table = _table(content, flags) or colours
            drawn = content.read(1) + _blocks(content)
            size = len(table) // 3
            alone = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80 | size.bit_length() - 2 if table else 0, 0, 0)
            alone += table + b"!\xf9\x04" + bytes([control[0] & 1]) + control[1:] + b"\0"
            alone += b"," + struct.pack("<HHHHB", 0, 0, width, height, flags & 0x40) + drawn + b";"
            disposal = control[0] >> 2 & 7
            yield _Part(left=left, top=top, width=width, height=height, disposal=disposal, alone=alone)
            control = b"\0\0\0\0"


def _table(content: io.BytesIO, flags: int) -> bytes:
    """The colour table that follows, where ``flags`` say that one does."""
    return content.read(3 << (flags & 7) + 1) if flags & 0x80 else b""


def _blocks(content: io.BytesIO) -> bytes:
    """Sub-blocks with their lengths, up to the empty one that ends them."""
    start = content.tell()
    while length := content.read(1):
        if length == b"\0" or len(content.read(length[0])) < length[0]:
            break
    end = content.tell()
    content.seek(start)
    return content.read(end - start)
