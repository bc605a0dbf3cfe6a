"""Colour spaces by their numbers in ITU-T H.273, as ICC profiles: what cICP and nclx say, for files that hold neither.

A profile here is of version 2 (ICC.1:2001-04): three primaries, adapted to D50 by Bradford, and one curve.
"""

import struct

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18  # transfers of high dynamic range
_D65 = (0.3127, 0.3290)
# Table 2: x and y of red, green and blue; white is D65 where it is not said.
_PRIMARIES: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}  # table 3
_BT709, _SRGB = (1, 6, 14, 15), 13
_UNSAID = 2
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def profile(primaries: int, transfer: int) -> bytes | None:
    """The ICC profile of two codes; None where they say what is shown without any: sRGB, BT.709, or nothing.

    Raises:
        ValueError: codes that no profile can be made of, PQ and HLG among them.
    """
    ordinary = (*_BT709, _SRGB, _UNSAID)
    if primaries in (1, _UNSAID) and transfer in ordinary:
        return None
    if primaries == _UNSAID:
        primaries = 1
    if primaries not in _PRIMARIES or transfer not in (*ordinary, *_GAMMAS):
        raise ValueError(f"colours {primaries}/{transfer} of H.273")
    curve = _curve(transfer)
    columns = _adapted(_PRIMARIES[primaries])
    name = f"H.273 {primaries}/{transfer}".encode()
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(1 + 78),
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": _xyz(_D50),
        **{kind + b"XYZ": _xyz(column) for kind, column in zip((b"r", b"g", b"b"), columns.T, strict=True)},
        **{kind + b"TRC": curve for kind in (b"r", b"g", b"b")},
    }
    at, table, content = 128 + 4 + 12 * len(tags), b"", b""
    for kind, value in tags.items():
        table += kind + struct.pack(">II", at + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s28x12s", at + len(content), b"", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp",
                       _xyz(_D50)[8:])  # fmt: skip
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _white(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _adapted(chromaticities: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """(3, 3): a column of XYZ for each primary, whose sum is D50."""
    white = _white(*(chromaticities[3] if len(chromaticities) > 3 else _D65))
    columns = np.stack([_white(*each) for each in chromaticities[:3]], axis=1)
    columns = columns * np.linalg.solve(columns, white)
    gains = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    return np.asarray(np.linalg.inv(_BRADFORD) @ gains @ _BRADFORD @ columns)


def _curve(transfer: int) -> bytes:
    """From a sample to light: a gamma, or 1,024 points."""
    if transfer in _GAMMAS:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(_GAMMAS[transfer] * 256))
    sample = np.linspace(0, 1, 1024)
    if transfer in _BT709:
        light = np.where(sample < 0.081, sample / 4.5, ((sample + 0.099) / 1.099) ** (1 / 0.45))
    else:
        light = np.where(sample <= 0.04045, sample / 12.92, ((sample + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + (light * 65535).round().astype(">u2").tobytes()
