"""Picture files to 8-bit pixels and back. No tensors (importing this does not import torch).

Whatever a file holds (grey, palette, CMYK, 16 bits, alpha, a rotated camera picture) becomes uint8 RGB
(H, W, 3) in one place, by the rules of ``read_picture``. The file itself is read by ``full_files``.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import full_files, pil_arrays


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture: ``pixels`` (H, W, 3) uint8, and whether the file itself was grey."""

    pixels: NDArray[np.uint8]
    grey: bool


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Decode a picture file to 8-bit RGB, as a viewer would show it on white.

    EXIF orientation is applied; palettes are converted, and CMYK through its own colour profile; alpha is laid
    over white; 16 bits are rounded to 8; a grey file has three equal channels and ``grey`` set. Of an
    animation it is the first frame, drawn as browsers do.

    Raises:
        SRGANError: the file cannot be read, is truncated, damaged, no picture, larger than Pillow's
            decompression-bomb limit (checked from the header, before decoding), or has 32-bit samples, whose white
            is unknown.
    """
    try:
        with full_files.opened(path, max_pixels=Image.MAX_IMAGE_PIXELS, first_only=True) as opened:
            pixels = opened.frame(0)
    except (SRGANError, OSError, MemoryError) as error:
        raise SRGANError(refusal(path, error)) from error
    return Picture(pixels=_on_white(pixels), grey=opened.grey or pixels.shape[2] < 3)


def refusal(path: str | os.PathLike[str], error: Exception) -> str:
    """What is said of a file that is no good."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return f"{path}: {said}" if said.startswith("not a readable") else f"{path}: not a readable picture ({said})"


def _on_white(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, C), uint8 or uint16, C being 1 to 4, as (H, W, 3)."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    image = pil_arrays.to_image(pixels)
    if pixels.shape[2] in (2, 4):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def content(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 of a picture (H, W, 3): equal for files that show the same, whatever their format and name."""
    digest = hashlib.sha256(f"{pixels.shape[0]} {pixels.shape[1]} ".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def write_png(path: str | os.PathLike[str], pixels: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) or grey (H, W) uint8 as PNG, whole or not at all."""
    with atomic_files.replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An original and its small version: ``hr`` (scale*h, scale*w, 3) and ``lr`` (h, w, 3), both uint8.

    ``content`` is that of the whole original, before it was cropped to a multiple of the scale; "" where unknown.
    """

    name: str
    lr: NDArray[np.uint8]
    hr: NDArray[np.uint8]
    grey: bool
    content: str = ""
