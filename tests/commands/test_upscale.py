"""The upscaler: files and what they carry, hostile ones among good ones, tiles, and the function for Python."""

import io
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

import srgan_lit
import srgan_lit.upscale
from helpers import foreign_networks
from srgan_lit import Generator, save_generator
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.pictures import bicubic, jpeg_in_bands, rgb8
from srgan_lit.pictures.bicubic_tensors import Bicubic
from srgan_lit.upscaling import engine

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def drawn(height: int, width: int, channels: int, *, seed: int = 0) -> np.ndarray:
    """A smooth random picture (H, W, C) uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (2 + height // 8, 2 + width // 8, channels), dtype=np.uint8)
    planes = [Image.fromarray(small[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


RGB = Image.fromarray(drawn(20, 30, 3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator that gives roughly the picture, so that results can be compared with bicubic."""
    path = tmp_path_factory.mktemp("model") / "generator.safetensors"
    save_generator(path, foreign_networks.randomised(Generator(blocks=1, features=8)))
    return path


def upscale(*arguments: object, model: object = "bicubic") -> int:
    return srgan_lit.upscale.main([*map(str, arguments), "--model", str(model)])


def near(result: Image.Image, source: Image.Image, tolerance: float = 4) -> bool:
    """Whether ``result`` is ``source``, larger: their colours agree where bicubic puts them."""
    larger = np.asarray(source.resize(result.size, Image.Resampling.BICUBIC)).astype(float)
    return bool(np.abs(np.asarray(result).astype(float) - larger).mean() < tolerance)


# --- what files carry ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
def test_profile_exif_orientation_and_resolution_survive(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif[0x013B] = "Jürgen".encode()  # as most programs write names today
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003] = 30, 20
    options: dict[str, Any] = {"quality": 95} if suffix in ("jpg", "webp", "avif") else {}
    RGB.save(tmp_path / f"in.{suffix}", icc_profile=SRGB, exif=exif, dpi=(72, 72), **options)
    if suffix == "tif":  # Pillow writes no EXIF directory into a TIFF; ours is what a camera's looks like
        RGB.save(tmp_path / "in.jpg", icc_profile=SRGB, exif=exif, dpi=(18, 18), quality=95)
        small = RGB.resize((8, 5))
        small.save(tmp_path / "in.jpg", icc_profile=SRGB, exif=exif, dpi=(18, 18), quality=95)
        (tmp_path / "in.tif").unlink()
        assert upscale(tmp_path / "in.jpg", "-o", tmp_path / "in.tif") == 0
        exif[0x0112] = 1
    assert upscale(tmp_path / f"in.{suffix}", "-o", tmp_path / f"out.{suffix}") == 0
    with Image.open(tmp_path / f"out.{suffix}") as result:
        assert result.info["icc_profile"] == SRGB
        found = result.getexif()
        assert found[0x010F] == "Maker"
        if suffix != "avif":  # of which Pillow reads question marks where it is turned
            assert found[0x013B].encode("latin-1").decode() == "Jürgen"
        assert found.get_ifd(0x8825)[1] == "N"
        assert found.get(0x0112, 1) == 1  # applied once, and no viewer will apply it again
        assert found.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        assert (found.get_ifd(0x8769)[0xA002], found.get_ifd(0x8769)[0xA003]) == result.size
        if suffix in ("png", "jpg", "tif"):
            assert result.info["dpi"] == pytest.approx((288, 288), rel=1e-3)  # the same size on paper
        if suffix != "tif":
            assert result.size == (80, 120)
            assert near(result.convert("RGB"), RGB.transpose(Image.Transpose.ROTATE_270), 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_as_viewers_do(orientation: int, tmp_path: Path) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    RGB.save(tmp_path / "in.png", exif=exif)
    assert upscale(tmp_path / "in.png", "-o", tmp_path / "out.png") == 0
    with Image.open(tmp_path / "in.png") as source, Image.open(tmp_path / "out.png") as result:
        upright = np.asarray(ImageOps.exif_transpose(source))
        assert np.array_equal(np.asarray(result), bicubic.enlarge(upright, 4))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "grey palette", "clear palette"])
def test_grey_alpha_palette_and_cmyk(mode: str, tmp_path: Path) -> None:
    rgba = RGB.copy()
    rgba.putalpha(Image.fromarray(drawn(20, 30, 1, seed=1)[..., 0]))
    images: dict[str, tuple[Image.Image, str]] = {
        "grey palette": (RGB.convert("L").convert("P"), "L"),
        "clear palette": (RGB.quantize(16), "RGBA"),
        "P": (RGB.quantize(256), "RGB"),
        "1": (RGB.convert("1"), "L"),
        "CMYK": (RGB.convert("CMYK"), "RGB"),
        **{each: (rgba.convert(each), each) for each in ("L", "LA", "RGB", "RGBA")},
    }
    image, expected = images[mode]
    suffix = "tif" if mode == "CMYK" else "png"
    image.save(tmp_path / f"in.{suffix}", **({"transparency": 0} if mode == "clear palette" else {}))
    assert upscale(tmp_path / f"in.{suffix}", "-o", tmp_path / f"out.{suffix}") == 0
    with Image.open(tmp_path / f"in.{suffix}") as source, Image.open(tmp_path / f"out.{suffix}") as result:
        assert result.mode == expected
        assert result.size == (120, 80)
        if mode not in ("clear palette", "1"):
            assert near(result, source.convert(expected))
        if expected in ("LA", "RGBA"):
            assert near(result.getchannel("A"), source.convert(expected).getchannel("A"))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_stay(channels: int, suffix: str, tmp_path: Path) -> None:
    if suffix == "tif" and channels == 2:
        pytest.skip("Pillow recognises no 16-bit grey TIFF with alpha; it is refused")
    deep = drawn(20, 300, channels).astype(np.uint16) * 257 + 5
    if suffix == "png":
        (tmp_path / "in.png").write_bytes(imagecodecs.png_encode(deep.squeeze()))
    else:
        tifffile.imwrite(
            tmp_path / "in.tif",
            deep.squeeze(),
            photometric="rgb" if channels > 2 else "minisblack",
            extrasamples=["unassalpha"] if channels == 4 else None,
        )
    assert upscale(tmp_path / f"in.{suffix}", "-o", tmp_path / f"out.{suffix}", "--tile", 64) == 0
    out = tmp_path / f"out.{suffix}"
    result = imagecodecs.png_decode(out.read_bytes()) if suffix == "png" else tifffile.imread(out)
    assert result.dtype == np.uint16
    assert result.shape == (80, 1200) + ((channels,) if channels > 1 else ())
    assert len(np.unique(result)) > 300  # more than 8 bits hold
    constant = np.kron(deep.squeeze(), np.ones((4, 4) + ((1,) if channels > 1 else ()))).astype(float)
    assert np.abs(result - constant).mean() < 8 * 257


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_animations_keep_frames_times_and_loop(suffix: str, tmp_path: Path) -> None:
    frames = [RGB, RGB.transpose(Image.Transpose.FLIP_LEFT_RIGHT), RGB.transpose(Image.Transpose.ROTATE_180)]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": [100, 200, 300]}
    frames[0].save(tmp_path / f"in.{suffix}", **options, **({} if suffix == "avif" else {"loop": 3}))
    assert upscale(tmp_path / f"in.{suffix}", "-o", tmp_path / f"out.{suffix}") == 0
    with Image.open(tmp_path / f"out.{suffix}") as result:
        assert (result.n_frames, result.size) == (3, (120, 80))
        assert suffix == "avif" or result.info["loop"] == 3
        for number, frame in enumerate(frames):
            result.seek(number)
            result.load()
            assert result.info["duration"] == 100 * (number + 1)
            assert near(result.convert("RGB"), frame, 12)


def test_the_picture_for_programs_without_animations_is_no_frame(tmp_path: Path) -> None:
    fallback, *frames = (Image.new("RGB", (12, 8), (value, 0, 0)) for value in (50, 120, 200))
    options: dict[str, Any] = {"save_all": True, "append_images": frames, "duration": [100, 200]}
    fallback.save(tmp_path / "in.png", default_image=True, **options)
    assert upscale(tmp_path / "in.png", "-o", tmp_path / "out.png") == 0
    with Image.open(tmp_path / "out.png") as result:
        assert result.n_frames == 2
        for number, red in enumerate((120, 200)):
            result.seek(number)
            result.load()
            assert (result.info["duration"], result.convert("RGB").getpixel((3, 3))) == (
                100 * number + 100,
                (red, 0, 0),
            )
    assert rgb8.read_picture(tmp_path / "in.png").pixels[0, 0].tolist() == [120, 0, 0]


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "avif", "jpg"])
def test_pages_become_a_tiff_or_nothing(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RGB.save(tmp_path / "in.tif", save_all=True, append_images=[RGB, RGB])
    assert upscale(tmp_path / "in.tif", "-o", tmp_path / f"out.{suffix}") == 1
    assert "3 pages" in (said := capsys.readouterr().err)
    assert "take --format tiff" in said
    assert not (tmp_path / f"out.{suffix}").exists()


def test_a_grey_palette_with_a_profile_of_rgb_stays_rgb(tmp_path: Path) -> None:
    RGB.convert("L").convert("P").save(tmp_path / "palette.png", icc_profile=SRGB)  # libpng refuses it on grey
    assert upscale(tmp_path / "palette.png", "-o", tmp_path / "large.png") == 0
    with Image.open(tmp_path / "large.png") as result:
        assert (result.mode, result.info["icc_profile"]) == ("RGB", SRGB)


def test_pages_of_a_tiff_keep_their_sizes_and_kinds(tmp_path: Path) -> None:
    RGB.save(tmp_path / "in.tif", save_all=True, append_images=[RGB.resize((9, 400)).convert("L")])
    assert upscale(tmp_path / "in.tif", "-o", tmp_path / "out.tif") == 0
    with Image.open(tmp_path / "out.tif") as result:
        assert (result.mode, result.size) == ("RGB", (120, 80))
        result.seek(1)
        assert (result.mode, result.size) == ("L", (36, 1600))
        assert near(result, RGB.resize((9, 400)).convert("L"))


def test_opaque_stays_opaque_and_hidden_colours_do_not_bleed(model: Path) -> None:
    rgba = np.zeros((24, 24, 4), dtype=np.uint8)
    rgba[:, :12] = (200, 150, 100, 255)  # the other half is hidden, and black
    generator = srgan_lit.load_generator(model)
    for enlarges in (generator, Bicubic()):
        result = engine.enlarge(rgba, enlarges)
        assert (result[:, :40, 3] == 255).all()
        assert (result[:, -40:, 3] == 0).all()
    assert np.abs(result[8:-8, 44:50, :3].astype(int) - (200, 150, 100)).max() <= 2  # at the edge, from inside


# --- what is asked of files ---------------------------------------------------------------------------------------


def bomb(width: int = 50000, height: int = 50000) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**7))) + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_good_pictures_among_hostile_ones_in_a_real_process(tmp_path: Path, model: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub dir").mkdir(parents=True)
    good = {
        "a, b=[c] ü 雪.png": RGB,
        "-dash.png": RGB,
        "sub dir/1x1.png": RGB.resize((1, 1)),
        "1x5000.png": RGB.resize((1, 5000)),
        "60000x1.png": RGB.resize((60000, 1)),
        "upper.JPG": RGB,
    }
    for name, image in good.items():
        image.save(folder / name)
    whole = encoded(RGB, "PNG")
    bad = {
        "truncated.png": whole[: len(whole) // 2],
        "truncated.jpg": encoded(RGB, "JPEG")[:-60],
        "zero.png": b"",
        "text.png": b"hello\n" * 50,
        "bomb.png": bomb(),
        "truncated16.png": imagecodecs.png_encode(drawn(40, 60, 3).astype(np.uint16) * 257)[:-900],
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("not a picture, and not asked for")

    command = [sys.executable, "-m", "srgan_lit.upscale", folder, "-o", out, "--model", model]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            process.wait(0.02)
        except (subprocess.TimeoutExpired, psutil.Error):
            pass
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.returncode == 1, said
    assert len(said.splitlines()) == len(bad) + 1, said
    assert said.splitlines()[-1] == "1 file passed over: notes.txt (no picture by its name)"
    for name in bad:
        assert sum(name in line for line in said.splitlines()) == 1, name
    results = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert results == set(good)
    for name, image in good.items():
        with Image.open(out / name) as result:
            assert result.size == (4 * image.width, 4 * image.height)
    assert peak < 1.5 * 2**30  # decoding the bomb would take 7.5 GB


def test_nothing_is_overwritten_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        RGB.save(tmp_path / name)
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.png").write_bytes(b"mine")
    both = (tmp_path / "a.png", tmp_path / "b.png", "-o", out)
    assert upscale(*both) == 2
    assert "b.png exists" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["b.png"]  # refused before any work
    assert upscale(*both, "--skip-existing") == 0
    assert (out / "b.png").read_bytes() == b"mine"
    assert upscale(*both, "--overwrite") == 0
    assert Image.open(out / "b.png").size == (120, 80)


def test_a_result_never_replaces_its_input_nor_another_result(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        RGB.save(tmp_path / folder / "a.png")
    RGB.save(tmp_path / "one" / "a.bmp")
    before = (tmp_path / "one" / "a.png").read_bytes()
    assert upscale(tmp_path / "one", "-o", tmp_path / "one", "--overwrite") == 2
    assert (tmp_path / "one" / "a.png").read_bytes() == before
    assert upscale(tmp_path / "one" / "a.png", tmp_path / "two" / "a.png", "-o", tmp_path / "out") == 2
    assert upscale(tmp_path / "one", "-o", tmp_path / "out", "--format", "png") == 2
    assert upscale(tmp_path / "one", "-o", tmp_path / "out.png") == 2
    assert not (tmp_path / "out").exists()
    assert upscale(tmp_path / "one" / "..", "-o", tmp_path / "out") == 0  # a tree, kept
    assert (tmp_path / "out" / "two" / "a.png").exists()
    assert upscale(tmp_path / "two", "-o", tmp_path) == 0  # into a folder above
    assert (tmp_path / "a.png").exists()
    # Results inside the input folder are not taken for inputs the next time.
    assert upscale(tmp_path / "two", "-o", tmp_path / "two" / "large") == 0
    assert upscale(tmp_path / "two", "-o", tmp_path / "two" / "large", "--overwrite") == 0
    assert not (tmp_path / "two" / "large" / "large").exists()


def test_globs_and_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("[1].png", "-x.png", "a b,c=d.png"):
        RGB.save(name)
    assert srgan_lit.upscale.main(["--model", "bicubic", "-o", "out", "[1].png", "a b,c=d.png", "--", "-x.png"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["-x.png", "[1].png", "a b,c=d.png"]
    assert srgan_lit.upscale.main(["--model", "bicubic", "-o", "out2", "*.png"]) == 0
    assert sorted(path.name for path in Path("out2").iterdir()) == ["-x.png", "[1].png", "a b,c=d.png"]
    assert srgan_lit.upscale.main(["--model", "bicubic", "-o", "out3", "none*.png"]) == 1


def test_long_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    japanese, endless = tmp_path / f"{'写' * 80}.png", tmp_path / f"{'b' * 250}.png"
    RGB.save(japanese)
    RGB.save(endless)
    assert upscale(tmp_path / "*.png", "-o", tmp_path / "out") == 0, "as long as the inputs'"
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert upscale(japanese, endless) == 1, "the result's would be too long"
    assert (tmp_path / f"{'写' * 80}_x4.png").exists()
    assert capsys.readouterr().err.count("File name too long") == 1


def test_a_picture_that_is_named_twice_is_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    RGB.save("a.png")
    RGB.save("a.jpg")
    assert upscale("a.png", "*.png", "./a.png", tmp_path, "-o", "out") == 0
    assert capsys.readouterr().out == "2 enlarged, 0 failed: out\n"
    assert upscale("a.png", "a.png", "-o", "one.png") == 0
    assert capsys.readouterr().out == "1 enlarged, 0 failed: one.png\n"
    assert upscale("a.png", "a.jpg", "-o", "webp", "--format", "webp") == 2, "two pictures, one result"
    assert "would both become webp/a.webp: rename one of them" in capsys.readouterr().err


def test_what_is_not_called_like_a_picture_is_tried_where_the_result_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    RGB.save("a.ppm")
    assert upscale("a.ppm", "-o", "out") == 1
    assert "a.ppm: no name of a picture that can be read (PNG, JPEG" in capsys.readouterr().err
    assert upscale("a.ppm", "-o", "a.png") == 0
    assert Image.open("a.png").size == (RGB.width * 4, RGB.height * 4)


def test_what_is_wrong_with_a_file_is_said_with_its_name_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gone.png").symlink_to("nowhere.png")
    assert upscale("gone.png", "-o", "out") == 1
    assert capsys.readouterr().err.count("gone.png") == 1


@pytest.mark.parametrize(
    ("suffix", "image", "said"),
    [
        ("jpg", Image.new("RGBA", (3, 3), (1, 2, 3, 4)), "transparency"),
        ("jpg", Image.new("RGB", (17000, 1)), "65500"),
        ("webp", Image.new("RGB", (5000, 1)), "16383"),
        ("bmp", Image.new("RGBA", (3, 3), (1, 2, 3, 4)), "transparency"),
        ("bmp", Image.new("LA", (3, 3), (1, 4)), "transparency"),
        ("bmp", Image.fromarray(np.full((3, 3), 300, dtype=np.uint16)), "16"),
    ],
)
def test_a_format_that_cannot_hold_the_result_is_refused(
    suffix: str, image: Image.Image, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image.save(tmp_path / "in.png")
    assert upscale(tmp_path / "in.png", "-o", tmp_path / "out", "--format", suffix) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "--format png" in error
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failed_write_leaves_the_old_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RGB.save(tmp_path / "in.png")
    (tmp_path / "out.png").write_bytes(b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("srgan_lit.pictures.png_in_bands._chunk", full)
    assert upscale(tmp_path / "in.png", "-o", tmp_path / "out.png", "--overwrite") == 1
    assert (tmp_path / "out.png").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_a_kill_leaves_no_half_picture(tmp_path: Path, model: Path) -> None:
    Image.fromarray(drawn(1500, 1500, 3)).save(tmp_path / "in.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "srgan_lit.upscale", tmp_path / "in.png", "-o", out, "--tile", "64"]
    process = subprocess.Popen([*command, "--model", model], stderr=subprocess.DEVNULL)
    while not (out.is_dir() and any(file.stat().st_size > 10_000 for file in out.iterdir())):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (out / "in.png").exists()
    assert len(list(out.iterdir())) == 1  # what the kill left is hidden, and no picture to later runs
    assert upscale(out, "-o", tmp_path / "again") == 1


def test_usage_errors(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RGB.save(tmp_path / "in.png")
    picture, out = tmp_path / "in.png", tmp_path / "out"
    if not torch.cuda.is_available():
        assert upscale(picture, "-o", out, "--device", "cuda") == 2
        assert upscale(picture, "-o", out, "--device", "cuda", model="auto") == 2
    assert upscale(picture, "-o", out, "--device", "abacus") == 2
    assert upscale(picture, "-o", out, "--fidelity", 0.5) == 2
    assert upscale(picture, "-o", out, "--fidelity", 0.5, model=model) == 1  # no SRResNet beside it
    assert upscale(picture, "-o", out, model="srgan-nonesuch") == 1
    assert all(line.startswith("error: ") for line in capsys.readouterr().err.splitlines())
    assert not out.exists()
    for wrong in (("--tile", "7"), ("--tile", "x"), ("--fidelity", "2"), ("--overwrite", "--skip-existing")):
        with pytest.raises(SystemExit) as stopped:
            upscale(picture, "-o", out, *wrong)
        assert stopped.value.code == 2


def test_importing_the_command_is_light() -> None:
    code = (
        "import sys, srgan_lit.upscale; srgan_lit.upscale.build_parser(); "
        "print([m for m in ('torch', 'lightning', 'hydra', 'wandb', 'torchvision', 'PIL') if m in sys.modules]); "
        "import srgan_lit.upscaling.engine, srgan_lit.pictures.full_files; "
        "print([m for m in ('lightning', 'hydra', 'wandb', 'torchvision', 'torchmetrics') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]


# --- the function -------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    channels=st.integers(1, 4),
    tile=st.integers(8, 40),
    options=st.sampled_from(({}, {"match_input": True}, {"self_ensemble": True})),
)
def test_tiles_change_nothing(height: int, width: int, channels: int, tile: int, options: dict[str, bool]) -> None:
    generator = foreign_networks.randomised(Generator(blocks=1, features=4))
    image = drawn(height, width, channels).astype(np.float32) / 255
    whole = engine.enlarge(image, generator, tile=0, **options)
    tiled = engine.enlarge(image, generator, tile=tile, **options)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_bicubic_is_the_literatures() -> None:
    image = drawn(37, 41, 3)
    assert np.array_equal(engine.enlarge(image, Bicubic(), tile=16), bicubic.enlarge(image, 4))
    assert np.array_equal(engine.enlarge(image, Bicubic(2)), bicubic.enlarge(image, 2))


def test_the_function_computes_what_the_generator_does() -> None:
    generator = foreign_networks.randomised(Generator(blocks=2, features=8))
    lr = torch.rand(2, 3, 14, 9)
    with torch.no_grad():
        expected = generator(lr).clamp(0, 1)
    torch.testing.assert_close(engine.enlarge(lr, generator), expected, atol=1e-5, rtol=0)
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in generator.modules())  # it is left as it was


def test_self_ensemble_is_the_mean_over_flips_and_turns() -> None:
    generator = foreign_networks.randomised(Generator(blocks=1, features=8))
    lr = torch.rand(1, 3, 10, 14)
    views: list[Callable[[torch.Tensor], torch.Tensor]] = []
    with torch.no_grad():
        total = torch.zeros(1, 3, 40, 56)
        for turns in range(4):
            for flips in ([], [-1]):
                seen = torch.rot90(lr.flip(flips), turns, (-2, -1))
                total += torch.rot90(generator(seen), -turns, (-2, -1)).flip(flips) / 8
    assert views == []
    result = engine.enlarge(lr, generator, self_ensemble=True)
    torch.testing.assert_close(result, total.clamp(0, 1), atol=1e-5, rtol=0)


def test_match_input_gives_back_the_input_when_shrunk() -> None:
    generator = foreign_networks.randomised(Generator(blocks=1, features=8))
    image = drawn(40, 50, 3) // 2 + 60  # away from black and white, where a result has nowhere to go
    off = bicubic.shrink(engine.enlarge(image, generator), 4).astype(int) - image
    matched = bicubic.shrink(engine.enlarge(image, generator, match_input=True), 4).astype(int) - image
    assert np.abs(off).mean() > 5  # this generator is random
    assert np.abs(matched).max() <= 1
    assert (matched != 0).mean() < 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 2), (9, 7, 3), (9, 7, 4)])
def test_arrays_in_and_out_in_kind(dtype: type, shape: tuple[int, ...]) -> None:
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = np.full(shape, top // 2 if top > 1 else 0.5, dtype=dtype)
    result = srgan_lit.enlarge(image, Bicubic())
    assert result.dtype == dtype
    assert result.shape == (36, 28, *shape[2:])
    assert np.abs(result.astype(float) / top - 0.5).max() < 0.01


def test_images_and_tensors_in_and_out_in_kind() -> None:
    for mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        image = Image.new(mode, (5, 3))
        result = srgan_lit.enlarge(image, Bicubic())
        assert (result.mode, result.size) == (mode, (20, 12))
    for tensor in (torch.rand(3, 6, 5), torch.rand(2, 1, 6, 5), torch.rand(1, 3, 6, 5).half()):
        assert srgan_lit.enlarge(tensor, Bicubic()).shape == (*tensor.shape[:-2], 24, 20)
        assert srgan_lit.enlarge(tensor, Bicubic()).dtype == tensor.dtype
    bytes_ = torch.full((3, 6, 5), 7, dtype=torch.uint8)
    assert (srgan_lit.enlarge(bytes_, Bicubic()) == 7).all()
    for wrong in (np.zeros((3, 4, 5)), np.zeros((4, 4), dtype=np.int64), np.zeros((0, 4)), torch.zeros(4), "a.png"):
        with pytest.raises(UsageError):
            srgan_lit.enlarge(wrong, Bicubic())


def test_auto_halves_the_tile_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = foreign_networks.randomised(Generator(blocks=1, features=4))
    image = drawn(130, 90, 3)
    expected = engine.enlarge(image, generator)
    tried = []
    compute = engine.Enlarger.window

    def with_little_memory(self: engine.Enlarger, pixels: np.ndarray) -> np.ndarray:
        tried.append(max(pixels.shape[:2]))
        if max(pixels.shape[:2]) > 80:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(self, pixels)

    monkeypatch.setattr(engine.Enlarger, "window", with_little_memory)
    assert np.abs(engine.enlarge(image, generator).astype(int) - expected).max() <= 1
    assert tried[0] > 80
    with pytest.raises(SRGANError, match="--tile"):
        engine.enlarge(image, generator, tile=100)


def test_memory_does_not_grow_with_the_picture() -> None:
    """A tile's tensors depend on the tile alone: auto gives large pictures the tile that it gives middling ones."""
    enlarger = engine.Enlarger(Generator())
    middling = enlarger.tile("auto", 3000, 4000)
    assert enlarger.tile("auto", 30000, 40000) <= middling * 1.1
    assert (middling + 2 * enlarger.halo) ** 2 * enlarger.bytes_per_pixel < 10**9
    assert enlarger.tile(0, 3000, 4000) == 4000
    assert enlarger.tile(128, 3000, 4000) == 128


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90), width=st.integers(1, 300), grey=st.booleans(), cuts=st.lists(st.integers(1, 89)),
)  # fmt: skip
def test_a_jpeg_in_bands_is_the_jpeg_of_the_whole(height: int, width: int, grey: bool, cuts: list[int]) -> None:
    array = drawn(height, width, 1 if grey else 3)
    bands = [band for band in np.split(array, sorted(cuts)) if len(band)]
    in_bands, at_once = io.BytesIO(), io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            jpeg_in_bands, "_BAND_PIXELS", 8 * 8 * 300
        )  # bands that end within the picture, and more than eight
        jpeg_in_bands.write(in_bands, array.shape, iter(bands), icc_profile=SRGB, dpi=(72, 72))
    Image.fromarray(array.squeeze(2) if grey else array).save(at_once, "JPEG", quality=95, subsampling=0)
    with Image.open(in_bands) as ours, Image.open(at_once) as theirs:
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
        assert (ours.info["icc_profile"], ours.info["dpi"]) == (SRGB, (72, 72))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_large_result_is_never_whole_in_memory(suffix: str, tmp_path: Path) -> None:
    program = f"""
import resource
from pathlib import Path
import numpy as np
from PIL import Image
from srgan_lit.pictures import full_files
image = Image.new("RGB", (4, 4))
image.save("in.png")
with full_files.opened("in.png") as opened:
    info = opened.info
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
bands = (np.full((125, 7000, 3), number, np.uint8) for number in range(96))
frame = full_files.Frame(shape=(12000, 7000, 3), bands=bands, scale=4)
full_files.write(Path("out.{suffix}"), iter([frame]), info)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(result.stdout) < 100, "MiB, and the picture has 240"
    with Image.open(tmp_path / f"out.{suffix}") as written:
        assert written.size == (7000, 12000)


@pytest.mark.parametrize(("has", "lines"), [({"avx2": True}, 1), ({"avx512_bf16": True}, 0)])
def test_a_precision_that_the_processor_lacks_is_warned_of(
    has: dict[str, bool],
    lines: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", **has})
    RGB.save(tmp_path / "in.png")
    assert upscale(tmp_path / "in.png", "-o", tmp_path / "out.png", "--precision", "bfloat16", "--device", "cpu") == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert all("float32 is much faster" in line for line in said)
