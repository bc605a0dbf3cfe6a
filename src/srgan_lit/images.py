"""Picture files to pixels, pixels to tensors and back, and luma: the only place where ranges change.

Inside the package an image is an RGB float tensor (B, 3, H, W) in [0, 1]. In files and in the packed cache
it is uint8 (H, W, 3).
"""

import os
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from srgan_lit import atomic
from srgan_lit.errors import SRGANError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"})


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture: ``pixels`` (H, W, 3) uint8, and whether the file itself was grey."""

    pixels: NDArray[np.uint8]
    grey: bool


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Decode a picture file to 8-bit RGB, as a viewer would show it on white.

    EXIF orientation is applied; palettes and CMYK are converted; alpha is laid over white; 16-bit grey is
    scaled to 8 bits; a grey file has three equal channels and ``grey`` set. Of an animation it is the first
    frame.

    Raises:
        SRGANError: the file cannot be read, is truncated, damaged, no picture, or larger than Pillow's
            decompression-bomb limit (checked from the header, before decoding).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(opened)
                image.load()
    except Exception as error:  # Pillow's decoders raise many kinds; all mean that this file is no good
        # Image.open names the file in its message; once is enough.
        reason = str(error).replace(f" {str(path)!r}", "").strip() or type(error).__name__
        raise SRGANError(f"{path}: not a readable picture ({reason})") from error
    return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Picture:
    grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F"))
    if image.mode.startswith("I"):  # 16-bit grey; convert() would clip instead of scaling
        wide = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(np.floor(wide / 257 + 0.5), 0, 255).astype(np.uint8))
    elif image.mode == "F":  # floating-point grey, taken as [0, 1]
        image = Image.fromarray((np.clip(np.asarray(image), 0, 1) * 255 + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return Picture(pixels=np.asarray(image.convert("RGB")), grey=grey)


def write_png(path: str | os.PathLike[str], pixels: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) or grey (H, W) uint8 as PNG, whole or not at all."""
    with atomic.replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def to_float(image: Tensor) -> Tensor:
    """uint8 in [0, 255] to float32 in [0, 1], any shape, on its device."""
    return image.float().div_(255)


def from_pixels(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 to an image (1, 3, H, W) float32 in [0, 1]."""
    return to_float(torch.tensor(pixels).permute(2, 0, 1)[None])


def to_uint8(image: Tensor) -> Tensor:
    """An image in [0, 1], clamped and rounded to uint8 in [0, 255], same shape and device."""
    return image.float().clamp(0, 1).mul(255).round_().to(torch.uint8)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """An image (1, 3, H, W) or (3, H, W) in [0, 1], clamped and rounded, to (H, W, 3) uint8."""
    if image.dim() == 4:
        if image.shape[0] != 1:
            raise ValueError(f"to_pixels takes one image, not a batch of {image.shape[0]}")
        image = image[0]
    return np.ascontiguousarray(to_uint8(image.detach()).permute(1, 2, 0).cpu().numpy())


# ITU-R BT.601 as in MATLAB's rgb2ycbcr: luma in [16, 235] for RGB in [0, 1].
_LUMA = (65.481, 128.553, 24.966)


def luma(image: Tensor) -> Tensor:
    """BT.601 luma (B, 1, H, W) in [16, 235], not rounded, float64, of an RGB image (B, 3, H, W) in [0, 1]."""
    weights = torch.tensor(_LUMA, dtype=torch.float64, device=image.device).view(1, 3, 1, 1)
    return (image.double() * weights).sum(dim=1, keepdim=True) + 16
