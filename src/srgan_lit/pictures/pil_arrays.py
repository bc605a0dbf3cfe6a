"""PIL images to pixel arrays and back, without loss of depth or alpha. No torch, no files.

An array is (H, W, C), uint8 or uint16; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from srgan_lit.common.errors import SRGANError

Pixels = NDArray[Any]

SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


def levels(array: Pixels) -> int:
    """The value of white: 255, 65535, or 1 for floating point."""
    return int(np.iinfo(array.dtype).max) if np.issubdtype(array.dtype, np.integer) else 1


def from_image(image: Image.Image) -> Pixels:
    """The pixels of ``image``. Grey palettes become grey, others RGB; CMYK becomes RGB (see ``cmyk_to_rgb``).

    Raises:
        SRGANError: 32-bit samples, or a colour space that has no plain way to RGB.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if mode == "F":  # grey, of which only [0, 1] says what white is
        samples = np.asarray(image)
        if ((samples >= 0) & (samples <= 1)).all():  # not NaN
            return np.floor(samples[:, :, None] * 65535.0 + 0.5).astype(np.uint16)
    if mode in ("I", "F"):
        raise SRGANError("32-bit samples; only 8 and 16 bits, and floating point in [0, 1], can be read")
    if mode == "LAB":
        raise SRGANError("Lab colours; convert the picture to RGB first")
    if mode == "CMYK":
        image = cmyk_to_rgb(image)
    elif mode in ("P", "PA"):
        image = _without_palette(image)
    elif image.has_transparency_data and mode not in ("LA", "RGBA"):
        image = image.convert("LA" if mode in ("1", "L", "La") else "RGBA")
    elif mode == "1":
        image = image.convert("L")
    elif mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def _without_palette(image: Image.Image) -> Image.Image:
    palette = image.getpalette("RGB") or []
    used = np.unique(np.asarray(image.getchannel(0)))
    colours = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)[used]
    profile = image.info.get("icc_profile") or b""
    grey = bool((colours == colours[:, :1]).all()) and profile[16:20] != b"RGB "  # which a grey picture may not have
    if image.has_transparency_data:
        return image.convert("RGBA").convert("LA" if grey else "RGBA")
    return image.convert("RGB").convert("L" if grey else "RGB")


def cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """sRGB for a CMYK ``image``: through its own colour profile where it has one, as a viewer would show it."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            import io

            converted = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile: as if there were none
    return image.convert("RGB")


def upright(array: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (1 to 8) to (H, W, C)."""
    if orientation in SIDEWAYS:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def to_image(array: Pixels) -> Image.Image:
    """A PIL image of uint8 pixels, or of grey uint16 ones.

    Raises:
        ValueError: uint16 with colour or alpha, which PIL cannot hold.
    """
    if array.dtype == np.uint16 and array.shape[2] != 1:
        raise ValueError("PIL holds 16 bits for grey only")
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
