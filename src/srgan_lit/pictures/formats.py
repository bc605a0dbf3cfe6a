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
        frames: holds several (an animation, or the pages of a TIFF).
        deep: holds 16 bits.
        alpha: holds transparency.
        longest_px: the longest side that it holds.
        carries: what Pillow can put beside the pixels: ``icc_profile``, ``exif`` and ``dpi``.
        options: Pillow's, for saving.
        animation_options: more of them, for saving an animation.
        lossless: Pillow's option of this name: a lossless file stays one.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    frames: bool = False
    deep: bool = False
    alpha: bool = True
    longest_px: int = 2**31
    carries: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)
    animation_options: dict[str, Any] = field(default_factory=dict)
    lossless: bool = False


_ALL = frozenset({"icc_profile", "exif", "dpi"})

# Of the formats that Pillow knows, those of photographs. EPS would start Ghostscript.
TABLE = (
    Format(name="PNG", suffixes=(".png",), frames=True, deep=True, carries=_ALL),
    # Pillow reads as JPEG, and then calls MPO, what has more views of the same picture behind it: cameras write it.
    Format(name="JPEG", suffixes=(".jpg", ".jpeg"), alpha=False, longest_px=65500, carries=_ALL),
    Format(
        name="WEBP",
        suffixes=(".webp",),
        frames=True,
        longest_px=16383,
        carries=_ALL - {"dpi"},
        options={"quality": 95},
        lossless=True,
    ),
    Format(name="TIFF", suffixes=(".tif", ".tiff"), frames=True, deep=True),
    Format(name="BMP", suffixes=(".bmp",), carries=frozenset({"dpi"})),
    Format(
        name="GIF",
        suffixes=(".gif",),
        frames=True,
        longest_px=65535,
        animation_options={"disposal": 2},  # each frame is whole: the one before must not show through it
    ),
    Format(
        name="AVIF",
        suffixes=(".avif",),
        frames=True,
        longest_px=65535,
        carries=_ALL - {"dpi"},
        options={"quality": 90},
    ),
    Format(name="DIB"),
    Format(name="PPM"),
    Format(name="JPEG2000"),
)
BY_NAME = {each.name: each for each in TABLE}
BY_SUFFIX = {suffix: each for each in TABLE for suffix in each.suffixes}
LISTED = ", ".join(sorted(BY_SUFFIX))  # for messages


def is_picture(path: PurePath) -> bool:
    """Whether a file is called like a picture."""
    return path.suffix.lower() in BY_SUFFIX
