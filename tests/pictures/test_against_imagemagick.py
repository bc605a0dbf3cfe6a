"""Formats, modes, depths, orientations and profiles as upscale reads them, against the pixels of ImageMagick.

ImageMagick decodes with code of its own and with other libraries than Pillow. What it shows is compared with what a
result, shrunk again by the scale, shows: the network is bicubic, so that both are the same picture.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.imagemagick import converter
from srgan_lit import upscale
from srgan_lit.pictures import bicubic

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


pytestmark = pytest.mark.skipif(converter() is None, reason="ImageMagick is not installed")


def magick(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The first frame, upright, as RGBA of 16 bits (H, W, 4)."""
    program = converter()
    assert program is not None
    options = ["-auto-orient", "-colorspace", "sRGB", "-depth", "16", "-endian", "LSB", "rgba:-"]
    content = subprocess.run([program, f"{path}[0]", *options], capture_output=True, check=True).stdout
    return np.frombuffer(content, dtype="<u2").reshape(size[1], size[0], 4)


def picture(mode: str, bits: int) -> Image.Image:
    rows, columns = np.mgrid[0:24, 0:40]
    planes = np.stack([rows * 5 + columns, columns * 4 + rows, 200 - rows * 3 - columns, 255 - rows * 4], axis=-1)
    rgba = Image.fromarray(planes.astype(np.uint8), "RGBA")
    if bits == 16:
        return Image.fromarray((planes[..., 0].astype(np.uint16) * 257 + 40).astype(np.uint16))
    if mode == "P":
        return rgba.convert("RGB").quantize(64)
    if mode == "1":
        return rgba.convert("L").convert("1", dither=Image.Dither.NONE)
    return rgba.convert("RGB").convert(mode) if mode not in ("RGBA", "LA") else rgba.convert(mode)


# Format: what it is saved with, and in which modes (I;16 is grey of 16 bits).
MATRIX = {
    "png": ({}, ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    "jpg": ({"quality": 98, "subsampling": 0}, ("L", "RGB")),
    "jfif": ({"quality": 98, "subsampling": 0, "format": "JPEG"}, ("RGB",)),
    "webp": ({"lossless": True}, ("RGB", "RGBA")),
    "tif": ({"compression": "tiff_lzw"}, ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    "tiff": ({}, ("L", "RGB", "RGBA", "I;16")),
    "bmp": ({}, ("1", "L", "P", "RGB")),
    "gif": ({}, ("L", "P")),
}
CASES = [(suffix, mode) for suffix, (_, modes) in MATRIX.items() for mode in modes]


@pytest.mark.parametrize(("suffix", "mode"), CASES)
def test_every_kind_of_picture_is_what_imagemagick_sees(suffix: str, mode: str, tmp_path: Path) -> None:
    options = dict(MATRIX[suffix][0])
    turned = suffix in ("jpg", "jfif", "tif", "tiff")  # ImageMagick 6 turns no PNG
    names = []
    for orientation in (1, 3, 6, 8) if turned else (1,):
        for profile in (None, PROFILE) if suffix not in ("bmp", "gif") and mode in ("RGB", "RGBA") else (None,):
            exif = Image.Exif()
            exif[0x0112] = orientation
            image = picture(mode, 16 if mode == "I;16" else 8)
            name = f"{orientation}{'p' if profile else ''}.{suffix}"
            carried = {"exif": exif} if turned else {}
            carried |= {"icc_profile": profile} if profile else {}
            image.save(tmp_path / name, **options, **carried)
            names.append((name, image.size if orientation in (1, 3) else image.size[::-1]))
    sources = [str(tmp_path / name) for name, _ in names]
    for source in sources:  # results in PNG, which holds all of them
        target = f"{source}.png"
        assert upscale.main([source, "-o", target, "--model", "bicubic"]) == 0
    for name, size in names:
        seen = magick(tmp_path / name, size)
        result = magick(tmp_path / f"{name}.png", (size[0] * 4, size[1] * 4))
        sixteen = mode == "I;16"
        small = bicubic.shrink((result // 257).astype(np.uint8), 4).astype(int)
        visible = seen[..., 3] > 20 * 257
        off = np.abs(small - seen.astype(int) / 257)
        assert off[..., 3].max() <= 3, name
        # Two levels and palettes have edges, which bicubic rings at.
        assert off[visible][:, :3].mean() < (30 if mode == "1" else 3), name
        levels = len(np.unique(result[..., 0]))
        assert levels > 300 if sixteen else levels <= 256, name
