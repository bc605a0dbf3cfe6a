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
from srgan_lit.pictures import bicubic, full_files, rgb8

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


# What ImageMagick is asked to write: name, and its options. Other encoders' files than Pillow's.
WRITTEN = {
    "1 bit.png": ["-colorspace", "Gray", "-threshold", "50%", "-define", "png:bit-depth=1"],
    "2 bits.png": ["-colorspace", "Gray", "-depth", "2", "-define", "png:bit-depth=2"],
    "4 bits.png": ["-colorspace", "Gray", "-depth", "4", "-define", "png:bit-depth=4"],
    "palette.png": ["-colors", "20", "-type", "Palette"],
    "palette, clear.png": ["-transparent", "black", "-colors", "20", "-type", "PaletteAlpha"],
    "interlaced.png": ["-interlace", "PNG"],
    "48 bits.png": ["-depth", "16", "-define", "png:color-type=2", "-define", "png:bit-depth=16"],
    "64 bits, interlaced.png": ["-alpha", "set", "-channel", "A", "-evaluate", "set", "60%", "-interlace", "PNG",
                                "-define", "png:color-type=6", "-define", "png:bit-depth=16"],
    "grey, 16 bits.png": ["-colorspace", "Gray", "-define", "png:color-type=0", "-define", "png:bit-depth=16"],
    "grey and alpha, 16 bits.png": ["-colorspace", "Gray", "-alpha", "set", "-channel", "A", "-evaluate", "set", "60%",
                                    "-define", "png:color-type=4", "-define", "png:bit-depth=16"],
    "lzw.tif": ["-depth", "8", "-compress", "LZW"],
    "predictor.tif": ["-depth", "8", "-compress", "Zip", "-define", "tiff:predictor=2"],
    "16 bits, predictor.tif": ["-depth", "16", "-compress", "Zip", "-define", "tiff:predictor=2"],
    "16 bits, big-endian.tif": ["-depth", "16", "-endian", "MSB", "-compress", "None"],
    "tiles.tif": ["-depth", "8", "-define", "tiff:tile-geometry=16x16", "-compress", "LZW"],
    "planes.tif": ["-depth", "8", "-interlace", "Plane", "-compress", "None"],
    "rows.tif": ["-depth", "8", "-define", "tiff:rows-per-strip=3", "-compress", "RLE"],
    "fax.tif": ["-colorspace", "Gray", "-threshold", "50%", "-compress", "Group4"],
    "white is zero.tif": ["-colorspace", "Gray", "-depth", "8", "-define", "quantum:polarity=min-is-white"],
    "alpha.tif": ["-depth", "8", "-alpha", "set", "-channel", "A", "-evaluate", "set", "60%", "-compress", "LZW"],
    "baseline.jpg": ["-quality", "95", "-sampling-factor", "1x1"],
    "progressive.jpg": ["-quality", "95", "-sampling-factor", "1x1", "-interlace", "Plane"],
    "grey.jpg": ["-quality", "95", "-colorspace", "Gray"],
    "three.bmp": ["BMP3:"],
    "run lengths.bmp": ["-colors", "20", "-type", "Palette", "-compress", "RLE", "BMP3:"],
    "interlaced.gif": ["-colors", "20", "-interlace", "GIF"],
    "lossless.webp": ["-define", "webp:lossless=true"],
    "lossless, alpha.webp": ["-alpha", "set", "-channel", "A", "-evaluate", "set", "60%",
                             "-define", "webp:lossless=true", "-define", "webp:exact=true"],
}  # fmt: skip
ORIENTATIONS = {1: "TopLeft", 6: "RightTop", 8: "LeftBottom"}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_imagemagick_writes_is_read_as_it_reads_it(name: str, tmp_path: Path) -> None:
    picture("RGB", 8).save(tmp_path / "seed.png")
    program, path = converter(), tmp_path / name
    *options, last = [*WRITTEN[name], ""]
    if options and options[-1].endswith(":"):
        options, last = options[:-1], options[-1]
    # Noise below 8 bits, so that 16 are told from 8.
    deep = ["-evaluate", "multiply", "0.97"] if "16" in name or "48" in name or "64" in name else []
    command = [program, str(tmp_path / "seed.png"), *deep, *options, f"{last}{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not path.exists():
        pytest.skip(f"this ImageMagick does not write it: {done.stderr.strip()}")
    for orientation in ORIENTATIONS if path.suffix in (".tif", ".jpg") else [1]:
        if orientation > 1 and path.suffix == ".tif":
            subprocess.run([program, str(path), "-orient", ORIENTATIONS[orientation], str(path)], check=True)
        elif orientation > 1:
            exif = Image.Exif()
            exif[0x0112] = orientation
            with Image.open(path) as image:
                image.save(path, quality="keep", exif=exif)
        size = (40, 24) if orientation == 1 else (24, 40)
        seen = magick(path, size)
        with full_files.opened(path) as opened:
            result = opened.frame(0)
        wide = result.dtype == np.uint16
        assert wide == bool(deep), name
        colours, alpha = (result[..., :-1], result[..., -1]) if result.shape[2] in (2, 4) else (result, None)
        colours = np.broadcast_to(colours, (*colours.shape[:2], 3)).astype(int) * (1 if wide else 257)
        visible = seen[..., 3] > 0
        off = np.abs(colours - seen[..., :3].astype(int))[visible].max()
        assert off <= (3 * 257 if path.suffix == ".jpg" else 0), (name, orientation)
        if alpha is None:
            assert (seen[..., 3] == 65535).all()
            trained_on = rgb8.read_picture(path).pixels.astype(int) * 257
            assert np.abs(trained_on - seen[..., :3]).max() <= (3 if path.suffix == ".jpg" else 1) * 257, name
        else:
            assert np.array_equal(alpha.astype(int) * (1 if wide else 257), seen[..., 3]), (name, orientation)
