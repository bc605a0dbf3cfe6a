"""The pixels of PNG and TIFF files of 16 bits, of which Pillow keeps 8 where they are in colour. No torch."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import pil_arrays

Pixels = NDArray[Any]

_WHITE = 65535
_ASSOCIATED, _STRAIGHT = 1, 2  # TIFF's ExtraSamples: alpha by which colours are multiplied, and by which they are not


def pixels(path: Path, image: Image.Image, *, orientation: int) -> Pixels | None:
    """Upright pixels (H, W, C) uint16 of a file; None where they are not of 16 bits, or Pillow keeps all of them.

    Args:
        path: the file.
        image: the same, opened by Pillow at a TIFF's page, and not loaded: a TIFF is turned, and loses its orientation,
            by that.
        orientation: of a PNG, as its EXIF says (1 to 8).

    Raises:
        SRGANError: an animated PNG; a TIFF in other colours than RGB, of signed samples or floating point, without
            some of its pixels, or one that says two sizes.
    """
    if image.format == "PNG" and _is_deep_png(path):
        if getattr(image, "n_frames", 1) > 1:
            raise SRGANError("an animation of 16 bits; only those of 8 bits can be read")
        if image.mode.startswith("I") and "transparency" not in image.info:
            return None  # grey, which Pillow keeps
        import imagecodecs

        array = np.asarray(imagecodecs.png_decode(path.read_bytes()))
        array = array if array.ndim == 3 else array[:, :, None]
        if array.shape[2] == 1 and "transparency" in image.info:
            opaque = np.where(array == image.info["transparency"], 0, _WHITE).astype(np.uint16)
            array = np.concatenate([array, opaque], axis=2)
        return pil_arrays.upright(array, orientation)
    if image.format == "TIFF" and image.mode != "CMYK" and set(image.tag_v2.get(258, (8,))) == {16}:  # type: ignore[attr-defined]
        orientation = image.tag_v2.get(ExifTags.Base.Orientation, 1)  # type: ignore[attr-defined]
        size = image.size[::-1] if orientation in pil_arrays.SIDEWAYS else image.size
        return pil_arrays.upright(_page(path, image.tag_v2.offset, size), orientation)  # type: ignore[attr-defined]
    return None


def kind_of_tiff(path: Path) -> str:
    """What a TIFF that Pillow cannot open holds, in words; "" of any other file, or of a damaged one."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as opened:
            page = opened.pages.first
            return f"{page.samplesperpixel} bands of {page.dtype}"
    except Exception:  # of many kinds
        return ""


def _is_deep_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(25)[24:] == b"\x10"


def _page(path: Path, offset: int, size: tuple[int, int]) -> Pixels:
    """As it is stored, with straight alpha or none; of ``size``, its width and height. No other page is looked at."""
    import tifffile

    with tifffile.TiffFile(path) as opened:
        opened.filehandle.seek(offset)
        page = tifffile.TiffPage(opened, 0)
        if (page.imagewidth, page.imagelength) != size:
            raise SRGANError("a page that says two sizes")
        inverse = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        if not inverse and page.photometric not in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK):
            raise SRGANError(f"16 bits of {page.photometric!r}; only RGB and grey can be enlarged")
        if not all(page.databytecounts):
            raise SRGANError("a part of its pixels is missing")
        array = page.asarray()
        if array.dtype != np.uint16:
            raise SRGANError(f"{array.dtype} samples; of 16 bits only unsigned whole numbers can be enlarged")
        if page.axes.startswith("S"):
            array = np.moveaxis(array, 0, -1)
        array = array if array.ndim == 3 else array[:, :, None]
        extra = page.extrasamples[0] if page.extrasamples else 0
    count = array.shape[2] - len(page.extrasamples)
    colours, alpha = array[..., :count], array[..., count : count + 1]
    if inverse:
        colours = _WHITE - colours
    if extra not in (_ASSOCIATED, _STRAIGHT):
        return np.ascontiguousarray(colours)
    if extra == _ASSOCIATED:
        straight = colours * (_WHITE / np.maximum(alpha, 1).astype(np.float64))
        colours = np.clip(straight + 0.5, 0, _WHITE).astype(np.uint16)
    return np.concatenate([colours, alpha], axis=2)
