"""Pictures of 16 bits are what the same pictures of 8 bits are, to training, evaluate and upscale."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from srgan_lit import upscale
from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import full_files, rgb8

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 12, 9

TIFFS = {
    "straight alpha": (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "associated alpha": (4, {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
    "a channel that is no alpha": (4, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "black is white": (1, {"photometric": "miniswhite"}),
    "planes apart": (3, {"photometric": "rgb", "planarconfig": "separate"}),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_a_tiff_is_its_twin_of_8_bits(kind, tmp_path):
    channels, options = TIFFS[kind]
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)
    if kind == "associated alpha":
        pixels[..., 3] = RNG.integers(128, 256, (HEIGHT, WIDTH))
        pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    seen, enlarged = [], []
    for name, values in (("eight", pixels), ("sixteen", pixels.astype(np.uint16) * 257)):
        path = tmp_path / f"{name}.tif"
        values = np.moveaxis(values, -1, 0) if kind == "planes apart" else values.squeeze()
        tifffile.imwrite(path, np.ascontiguousarray(values), **options)
        seen.append(rgb8.read_picture(path))
        with full_files.opened(path) as opened:
            enlarged.append(opened.frame(0))
    assert np.abs(seen[0].pixels.astype(int) - seen[1].pixels).max() <= 1  # Pillow's own way to lay over white
    assert seen[0].grey == seen[1].grey
    assert enlarged[0].shape == enlarged[1].shape
    assert np.abs(enlarged[0].astype(float) - enlarged[1] / 257).max() <= (2 if kind == "associated alpha" else 0)


def test_grey_with_alpha_is_grey(tmp_path):
    deep = RNG.integers(0, 65536, (HEIGHT, WIDTH, 2), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    assert rgb8.read_picture(tmp_path / "deep.png").grey


def test_a_grey_png_may_name_a_level_that_is_transparent(tmp_path):
    deep = np.full((HEIGHT, WIDTH), 40000, dtype=np.uint16)
    deep[:4] = 1000
    Image.fromarray(deep).save(tmp_path / "clear.png", transparency=1000)
    assert (rgb8.read_picture(tmp_path / "clear.png").pixels[:4] == 255).all(), "laid over white"
    assert upscale.main(["--model", "bicubic", str(tmp_path / "clear.png"), "-o", str(tmp_path / "out.png")]) == 0
    result = imagecodecs.png_decode((tmp_path / "out.png").read_bytes())
    assert result.shape == (4 * HEIGHT, 4 * WIDTH, 2)
    assert (result[0, :, 1] == 0).all()
    assert (result[-1, :, 1] == 65535).all()


def signed(path):
    tifffile.imwrite(path, RNG.integers(-100, 3000, (HEIGHT, WIDTH), dtype=np.int16), photometric="minisblack")


def with_a_hole(path):
    pixels = RNG.integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    tifffile.imwrite(path, pixels, photometric="rgb", rowsperstrip=4, compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as opened:
        tag = opened.pages.first.tags["StripByteCounts"]
        tag.overwrite((*tag.value[:-1], 0))


def animated(path):
    def chunk(kind, *values):
        content = b"".join(value if isinstance(value, bytes) else struct.pack(">I", value) for value in values)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = [zlib.compress((b"\0" + value.to_bytes(2, "big") * WIDTH * 3) * HEIGHT) for value in (5000, 60000)]
    place = (WIDTH, HEIGHT, 0, 0, struct.pack(">HHBB", 1, 10, 0, 0))
    chunks = [
        chunk(b"IHDR", WIDTH, HEIGHT, bytes((16, 2, 0, 0, 0))), chunk(b"acTL", 2, 0), chunk(b"fcTL", 0, *place),
        chunk(b"IDAT", rows[0]), chunk(b"fcTL", 1, *place), chunk(b"fdAT", 2, rows[1]), chunk(b"IEND"),
    ]  # fmt: skip
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("signed.tif", signed, "int16 samples"),
        ("hole.tif", with_a_hole, "a part of its pixels is missing"),
        ("animated.png", animated, "an animation of 16 bits"),
    ],
)
def test_what_would_be_damaged_is_refused(name, write, said, tmp_path, capsys):
    write(tmp_path / name)
    assert upscale.main(["--model", "bicubic", str(tmp_path / name), "-o", str(tmp_path / "out")]) == 1
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(SRGANError, match=said):
        rgb8.read_picture(tmp_path / name)
