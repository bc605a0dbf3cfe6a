"""A CMYK colour profile, made by the format's specification (ICC.1:2010, section 10.10): no profile file is shipped."""

import struct

import numpy as np


def cmyk() -> bytes:
    """A printer whose inks are paler than those that a plain conversion takes: a table from CMYK to Lab."""
    levels = np.indices((2, 2, 2, 2)).reshape(4, -1).T  # cyan varies slowest, as the format has it
    cyan, magenta, yellow, black = levels.T
    lightness = 95 - 25 * cyan - 30 * magenta - 8 * yellow - 40 * black
    lab = np.stack(
        [
            lightness.clip(5) * 255 / 100,
            128 + (-25 * cyan + 45 * magenta) * (1 - black),
            128 + (-35 * cyan + 60 * yellow) * (1 - black),
        ],
        axis=1,
    )
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel().tolist())
    table += bytes(range(256)) * 4 + lab.round().clip(0, 255).astype(np.uint8).tobytes() + bytes(range(256)) * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags, data, offset = b"", b"", 128 + 4 + 2 * 12
    for name, content in ((b"A2B0", table), (b"wtpt", white)):
        tags += struct.pack(">4sII", name, offset + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    body = struct.pack(">I", 2) + tags + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"test", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body
