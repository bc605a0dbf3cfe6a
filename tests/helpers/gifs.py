"""Animated GIFs written block by block (GIF89a), and what is shown of them by the specification's words."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 6, 8
COLOURS = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
Part = tuple[int, int, int, int, int, int]
# (left, top, width, height, colour, disposal): 0 and 1 stay, 2 becomes clear, 3 becomes what was there before.
ALL_DISPOSALS: list[Part] = [
    (0, 0, 8, 6, 1, 1), (2, 1, 4, 3, 2, 3), (0, 3, 3, 3, 3, 2), (5, 0, 3, 6, 2, 1), (1, 1, 2, 2, 3, 1)
]  # fmt: skip
# After one that was disposed of, some that say nothing of it.
NO_DISPOSAL_AFTER_ONE: list[Part] = [
    (0, 0, 8, 6, 1, 0), (2, 1, 4, 3, 2, 2), (0, 3, 3, 3, 3, 0), (5, 0, 3, 6, 2, 3), (1, 1, 2, 2, 3, 0),
    (0, 0, 2, 2, 1, 0),
]  # fmt: skip
# The first covers a part, and is disposed of; another reaches over the edge.
NOT_COVERED: dict[str, list[Part]] = {
    "cleared": [(1, 1, 5, 4, 1, 2), (0, 0, 3, 3, 2, 0), (5, 2, 6, 3, 3, 1), (2, 2, 2, 2, 1, 1)],
    "restored": [(2, 1, 4, 3, 1, 3), (0, 0, 3, 3, 2, 1), (5, 2, 3, 9, 3, 1), (2, 2, 2, 2, 1, 1)],
}


def write(path: Path, parts: Sequence[Part], *, clear: bool = True, background: int = 0) -> list[np.ndarray]:
    """Write it; returns what is shown, frame by frame, as RGBA (6, 8, 4).

    LZW without repeats. ``clear``: colour 0 is. What is shown is by section 23; what nothing covers is clear, as
    browsers have it.
    """
    content = b"GIF89a" + struct.pack("<HHBBB", WIDTH, HEIGHT, 0x80 | 1, background, 0) + bytes(sum(COLOURS, ()))
    canvas = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
    shown = []
    for left, top, width, height, colour, disposal in parts:
        content += b"\x21\xf9\x04" + struct.pack("<BHB", disposal << 2 | clear, 10, 0) + b"\0"
        content += b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02"
        bits, codes = "", []
        for number in range(width * height):  # clear the table every two pixels: all codes have three bits
            codes += ([4] if number % 2 == 0 else []) + [colour]
        for code in [*codes, 5]:
            bits = format(code, "03b") + bits
        packed = int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")
        for at in range(0, len(packed), 255):
            content += bytes([len(packed[at : at + 255])]) + packed[at : at + 255]
        content += b"\0"
        before = canvas.copy()
        canvas[top : top + height, left : left + width] = (*COLOURS[colour], 255)
        shown.append(canvas.copy())
        if disposal == 2:
            canvas[top : top + height, left : left + width] = 0
        elif disposal == 3:
            canvas = before
    path.write_bytes(content + b"\x3b")
    return shown
