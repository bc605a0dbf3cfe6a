"""Picture files to 8-bit pixels and back. No tensors (importing this does not import torch).

Whatever a file holds (grey, palette, CMYK, 16 bits, alpha, a rotated camera picture) becomes uint8 RGB
(H, W, 3) in one place, by the rules of ``read_picture``.
"""

import hashlib
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import formats, gif_frames, pil_arrays, sixteen_bits

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it logs what it then raises


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """As ``PIL.Image.open``, whatever the name ends with, for the formats that may be read.

    A TIFF's orientation is applied by Pillow when it is loaded; other formats' is not.

    Raises:
        SRGANError: ``path`` is no regular file (opening a FIFO would wait for ever), or it is HEIF and pillow-heif is
            not installed.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise SRGANError("a folder" if path.is_dir() else "a FIFO, socket or device, and no regular file")
    if path.exists() and _is_heif(path):
        _read_heif()
        return Image.open(path, formats=["HEIF"])
    image = Image.open(path, formats=[name for name in formats.BY_NAME if name != "HEIF"])
    if image.format == "TIFF":
        # Pillow maps uncompressed files into memory by their name, with the sides of the upright picture over the
        # pixels as they are stored: scrambled where the orientation exchanges the sides.
        image.filename = ""
    return image


def _is_heif(path: Path) -> bool:
    """Whether a file is HEIF by its first bytes (ISO/IEC 23008-12); AVIF, which begins likewise, is not."""
    with path.open("rb") as file:
        start = file.read(64)
    brands = start[8 : min(int.from_bytes(start[:4], "big"), 64)]
    heif = brands[:4] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return start[4:8] == b"ftyp" and heif and b"avif" not in brands


def _read_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise SRGANError("HEIC needs pillow-heif: pip install 'srgan_lit[heif]'") from error
    pillow_heif.register_heif_opener()


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_image(path) as opened:
                grey = opened.mode in ("1", "L", "LA", "La") or opened.mode.startswith(("I", "F"))
                if opened.info.get("default_image"):  # of an animated PNG: for programs that show no animation
                    opened.seek(1)
                if frames := gif_frames.drawn(Path(path), opened):
                    image = Image.fromarray(frames.frame(0))
                elif (deep := _deep(Path(path), opened)) is not None:
                    image, grey = pil_arrays.to_image(_to_8_bits(deep)), deep.shape[2] < 3
                else:
                    opened.load()  # first: this turns a TIFF, which must not be turned again
                    image = ImageOps.exif_transpose(opened)
    except Exception as error:  # Pillow's decoders raise many kinds; all mean that this file is no good
        # Image.open names the file in its message; once is enough.
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = said.replace(f" {str(path)!r}", "").strip() or type(error).__name__
        raise SRGANError(f"{path}: not a readable picture ({reason})") from error
    if image.mode == "I" or (image.mode == "F" and not _in_unit_range(np.asarray(image))):
        raise SRGANError(f"{path}: 32-bit samples; only 8 and 16 bits, and floating point in [0, 1], can be read")
    return Picture(pixels=_to_rgb(image), grey=grey)


def _deep(path: Path, opened: Image.Image) -> NDArray[np.uint16] | None:
    """Pixels of 16 bits, which Pillow would cut to 8 bits where they are in colour or have alpha, and not round."""
    if opened.mode not in ("LA", "RGB", "RGBA", "RGBX") and not opened.mode.startswith("I;16"):
        return None  # CMYK, of which Pillow's 8 bits will do
    orientation = 1 if opened.format == "TIFF" else opened.getexif().get(ExifTags.Base.Orientation, 1)
    return sixteen_bits.pixels(path, opened, orientation=orientation)


def _to_8_bits(wide: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _in_unit_range(samples: NDArray[np.float32]) -> bool:
    return bool(((samples >= 0) & (samples <= 1)).all())  # False for NaN


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):  # convert() would clip instead of scaling
        image = Image.fromarray(_to_8_bits(np.asarray(image).astype(np.uint16)))
    elif image.mode == "F":  # floating-point grey, taken as [0, 1]
        image = Image.fromarray((np.clip(np.asarray(image), 0, 1) * 255 + 0.5).astype(np.uint8))
    if image.mode == "CMYK":
        image = pil_arrays.cmyk_to_rgb(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
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
