"""The picture formats: the suffixes of their files, what each holds, and how Pillow saves it. No Pillow here.

A new format that Pillow reads and writes is one row. PNG, JPEG and TIFF have writers of their own in ``full_files``.
"""

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Format:
    """One row of the table.

    Attributes:
        name: Pillow's.
        suffixes: of its files, lower case; the first is the usual one. Without any, a file is read whatever it is
            called, and none is written.
        becomes: the suffix of a result, where files of this format are read and not written.
        frames: holds several (an animation, or the pages of a TIFF).
        deep: holds 16 bits.
        alpha: holds transparency.
        longest_px: the longest side that it holds.
        carries: what is put beside the pixels: ``icc_profile``, ``exif``, ``dpi``, ``xmp`` and ``geography``; what else
            a file has is said to be lost.
        options: Pillow's, for saving.
        animation_options: more of them, for saving an animation.
        lossless: Pillow's option of this name: a lossless file stays one.
        lossy: Pillow's option ``quality``, 1 to 100.
        bytes_per_pixel: that a picture (of an animation: a frame) takes in memory while it is written, as measured; 0
            where it is written in bands.
        bytes_per_pixel_lossless: likewise, of a lossless file.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    becomes: str = ""
    frames: bool = False
    deep: bool = False
    alpha: bool = True
    longest_px: int = 2**31
    carries: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)
    animation_options: dict[str, Any] = field(default_factory=dict)
    lossless: bool = False
    lossy: bool = False
    bytes_per_pixel: int = 0
    bytes_per_pixel_lossless: int = 0


_ALL = frozenset({"icc_profile", "exif", "dpi", "xmp"})

# Of the formats that Pillow knows, those of photographs. EPS would start Ghostscript.
TABLE = (
    Format(name="PNG", suffixes=(".png",), frames=True, deep=True, carries=_ALL),
    # Pillow reads as JPEG, and then calls MPO, what has more views of the same picture behind it: cameras write it.
    Format(
        name="JPEG",
        suffixes=(".jpg", ".jpeg", ".jfif", ".jpe"),
        alpha=False,
        longest_px=65500,
        carries=_ALL,
        lossy=True,
    ),
    Format(
        name="WEBP",
        suffixes=(".webp",),
        frames=True,
        longest_px=16383,
        carries=_ALL - {"dpi"},
        options={"quality": 95},
        lossless=True,
        lossy=True,
        bytes_per_pixel=15,
        bytes_per_pixel_lossless=35,
    ),
    Format(name="TIFF", suffixes=(".tif", ".tiff"), frames=True, deep=True, carries=_ALL | {"geography"}),
    # Its alpha is in a header that Pillow does not write, and few programs look at.
    Format(name="BMP", suffixes=(".bmp",), alpha=False, carries=frozenset({"dpi"}), bytes_per_pixel=5),
    Format(
        name="GIF",
        suffixes=(".gif",),
        frames=True,
        longest_px=65535,
        animation_options={"disposal": 2},  # each frame is whole: the one before must not show through it
        bytes_per_pixel=13,
    ),
    Format(
        name="AVIF",
        suffixes=(".avif",),
        frames=True,
        longest_px=65535,
        carries=_ALL - {"dpi"},
        options={"quality": 90},
        lossy=True,
        bytes_per_pixel=32,
    ),
    # What phones write. Read by pillow-heif, the extra heif.
    Format(name="HEIF", suffixes=(".heic", ".heif", ".hif"), becomes=".jpg"),
    Format(name="DIB"),
    Format(name="PPM"),
    Format(name="JPEG2000"),
)
BY_NAME = {each.name: each for each in TABLE}
BY_SUFFIX = {suffix: each for each in TABLE for suffix in each.suffixes}
WRITTEN = {suffix: each for suffix, each in BY_SUFFIX.items() if not each.becomes}
LISTED = ", ".join(sorted(BY_SUFFIX))  # for messages
# Endings of other pictures, which are not read by name: no folder is meant by -o large.tga.
_OTHERS = """
    3fr arw bpg cr2 cr3 cur dcm dds dng emf eps exr fits flif hdr icns ico j2c j2k jp2 jpf jpx jxl jxr kra nef nrw orf
    pbm pcx pdf pef pfm pgm pnm ppm ps psb psd qoi raf ras raw rgb rw2 sgi sr2 srw svg svgz tga wbmp wdp wmf xbm xcf xpm
"""
OTHERS = frozenset(f".{ending}" for ending in _OTHERS.split())


def is_picture(path: PurePath) -> bool:
    """Whether a file is called like a picture."""
    return path.suffix.lower() in BY_SUFFIX
