"""Mutated pictures through the real commands: enlarged, or refused in one line that names the file; nothing worse."""

import contextlib
import io
import itertools
import struct
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers import warm_python
from helpers.mutations import attack, hung_after
from helpers.patience import HANGS_SECONDS
from srgan_lit import upscale
from srgan_lit.common.errors import SRGANError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import packed_cache, sets
from srgan_lit.pictures import formats, full_files, rgb8

RNG = np.random.default_rng(0)
RGB = Image.fromarray(RNG.integers(0, 256, (12, 9, 3), dtype=np.uint8))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = [each.suffixes[0][1:] for each in formats.TABLE if each.suffixes]


if "heic" in FORMATS:
    pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs pillow-heif")
    pillow_heif.register_heif_opener()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG", "tif": "TIFF", "heic": "HEIF"}.get(kind, kind), **options)
    return file.getvalue()


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x0112], made[0x010F] = 6, "maker"
    made.get_ifd(0x8769)[0xA002] = 9
    return made


def seeds(kind: str) -> list[bytes]:
    """Small files of one format, with all that it can hold."""
    plain = {"quality": 60} if kind in ("jpg", "webp", "avif") else {}
    found = [encoded(RGB, kind, **plain)]
    if kind != "jpg":
        found.append(encoded(RGB.convert("L" if kind in ("bmp", "tif") else "RGBA"), kind, **plain))
    if kind not in ("bmp", "gif"):
        found.append(encoded(RGB, kind, exif=exif(), icc_profile=PROFILE, **plain))
    if kind in ("gif", "webp", "png", "avif", "tif"):
        more = [Image.fromarray(RNG.integers(0, 256, (12, 9, 3), dtype=np.uint8)) for _ in range(3)]
        found.append(encoded(RGB, kind, save_all=True, append_images=more, **plain))
    wide = RNG.integers(0, 65536, (12, 9, 3), dtype=np.uint16)
    if kind == "png":
        found += [encoded(RGB.convert("P"), kind, transparency=3), imagecodecs.png_encode(wide)]
    if kind == "tif":
        found += [imagecodecs_tiff(wide, compression) for compression in ("none", "lzw", "zlib")]
        found.append(encoded(RGB, kind, compression="tiff_lzw", dpi=(72, 72)))
    if kind == "jpg":
        found.append(encoded(RGB.convert("CMYK"), kind, icc_profile=PROFILE))
        found.append(encoded(RGB, kind, progressive=True, dpi=(72, 72)))
    return found


def imagecodecs_tiff(pixels: np.ndarray, compression: str) -> bytes:
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", compression=None if compression == "none" else compression)
    return file.getvalue()


def test_what_pillow_logs_is_no_second_line(tmp_path):
    content = bytearray(encoded(RGB, "tif"))
    at = content.index(struct.pack("<HHI", 277, 3, 1))  # SamplesPerPixel
    content[at + 8 : at + 10] = struct.pack("<H", 279)
    (tmp_path / "in.tif").write_bytes(content)
    command = [sys.executable, "-m", "srgan_lit.upscale", "in.tif", "-o", "out.tif", "--model", "bicubic"]
    result = warm_python.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS_SECONDS)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("in.tif: ")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("times", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_upscale_makes_a_picture_or_one_line(kind, times, tmp_path):
    source = tmp_path / f"in.{kind}"
    numbers = itertools.count()

    def check(content):
        source.write_bytes(content)
        target = tmp_path / f"{next(numbers)}" / f"out.{'jpg' if kind == 'heic' else kind}"  # HEIC is read, not written
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            status = upscale.main([str(source), "-o", str(target), "--model", "bicubic", "--max-megapixels", "0.1"])
        said = errors.getvalue().splitlines()
        assert source.read_bytes() == content
        left = list(target.parent.iterdir()) if target.parent.exists() else []
        if status == 0:
            assert all(line.startswith(f"{target}: without ") for line in said), "what is lost is said, in a line"
            assert len(said) <= 1
            assert left == [target]
            with Image.open(target) as result:
                result.load()
        else:
            assert status == 1
            assert len(said) == 1, said
            assert said[0].startswith(f"{source}: ")
            assert left == []

    attack(seeds(kind), check, times=times)


@pytest.mark.parametrize(
    ("kind", "at", "sides"),
    [
        ({}, 26, b"\xff\x3f\xff\x3f"),
        ({"lossless": True}, 21, b"\xff\xff\xff\x0f"),
        ({"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, 24, b"\xff\x3f\0\xff\x3f\0"),
    ],
)
def test_a_webp_that_says_it_is_huge_is_refused_before_it_is_opened(kind, at, sides, tmp_path, monkeypatch):
    file = io.BytesIO()
    RGB.save(file, "WEBP", **kind)
    content = bytearray(file.getvalue())
    content[at : at + len(sides)] = sides
    (tmp_path / "in.webp").write_bytes(content)
    monkeypatch.setattr(full_files, "open_image", lambda _: pytest.fail("Pillow would take two gigabytes"))
    with pytest.raises(SRGANError, match="pixels are over the limit"), full_files.opened(tmp_path / "in.webp"):
        pass


@pytest.mark.parametrize("times", [150, pytest.param(6000, marks=pytest.mark.slow)])
def test_prepare_packs_what_is_whole_and_names_what_is_not(times, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    RGB.save(folder / "whole.png")
    numbers = itertools.count()

    def check(content):
        name = f"bad{FORMATS[next(numbers) % len(FORMATS)]}.png"
        (folder / name).write_bytes(content)
        found = sets.training_sources(DataConfig(name="folder", root=str(folder)))
        cache = packed_cache.open_packed(found, scale=4, label="set", cache=tmp_path / "cache")
        assert set(cache.names) | set(cache.bad) == {source.name for source in found}
        assert np.array_equal(cache.hr(cache.names.index("whole.png")), np.asarray(RGB)[:, :8])
        for bad, reason in cache.bad.items():
            assert reason.startswith(str(folder / bad))
        for at in range(len(cache)):
            cache.pair(at)
        (folder / name).unlink()

    attack([seed for kind in FORMATS for seed in seeds(kind)], check, times=times)


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rest = b"".join(chunk(*each) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + rest + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def long_gif(frames: int) -> bytes:
    """A GIF whose frames say 4000x4000 pixels in 30 bytes each."""
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 4000, 4000, 0x80, 0, 0) + bytes(6) + one * frames + b"\x3b"


def growing_tiff() -> bytes:
    """A first page of 4x4 pixels and a second one of 60000x60000, on no data."""
    small = encoded(Image.new("RGB", (4, 4)), "tif", save_all=True, append_images=[Image.new("RGB", (5, 5))])
    return small.replace(struct.pack("<HHII", 256, 4, 1, 5), struct.pack("<HHII", 256, 4, 1, 60000)).replace(
        struct.pack("<HHII", 257, 4, 1, 5), struct.pack("<HHII", 257, 4, 1, 60000)
    )


def bombs() -> dict[str, tuple[bytes, str]]:
    text = zlib.compress(bytes(300 * 2**20))
    return {
        "pixels.png": (png_of(60000, 60000), "limit"),
        "profile.png": (png_of(8, 8, (b"iCCP", b"x\0\0" + text)), ""),
        "text.png": (png_of(8, 8, (b"zTXt", b"x\0\0" + text)), ""),
        "frames.gif": (long_gif(5000), "5000 frames of 4000x4000"),
        "pages.tif": (growing_tiff(), "60000x60000"),
    }


@pytest.mark.long
@pytest.mark.parametrize("name", bombs())
def test_bombs_are_refused_before_they_grow(name, tmp_path, capsys):
    content, said = bombs()[name]
    (tmp_path / name).write_bytes(content)

    def check(_):
        assert upscale.main([str(tmp_path / name), "-o", str(tmp_path / "out"), "--model", "bicubic"]) == 1
        *announced, error = capsys.readouterr().err.splitlines()
        assert said in error
        assert all("megapixels" in line for line in announced), "that it would be large is said first"
        with contextlib.suppress(SRGANError):  # what training reads is the first frame, which may be one
            assert rgb8.read_picture(tmp_path / name).pixels.shape in {(4, 4, 3), (4000, 4000, 3)}

    attack([b"bomb"], check, times=1)
    assert not list((tmp_path / "out").glob("*"))


def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    """An EPS is a program, which Pillow has Ghostscript run, whatever the name of the file ends with."""
    started = []
    monkeypatch.setattr("subprocess.Popen", lambda *arguments, **options: started.append(arguments))
    monkeypatch.setattr("subprocess.check_call", lambda *arguments, **options: started.append(arguments))
    monkeypatch.setattr("PIL.EpsImagePlugin.has_ghostscript", lambda: True)
    eps = tmp_path / "photo.png"
    RGB.save(eps, "EPS")
    assert upscale.main([str(eps), "-o", str(tmp_path / "out"), "--model", "bicubic"]) == 1
    with pytest.raises(SRGANError, match=r"photo\.png: not a readable picture"):
        rgb8.read_picture(eps)
    with pytest.raises(SRGANError, match=r"photo\.png"):
        sets.size_of(eps)
    assert started == []


def test_the_attacks_would_notice(tmp_path):
    """What the other tests lean on: harm is done, and a hang is seen."""
    changed = []
    attack([encoded(RGB, "png")], changed.append, times=50)
    assert len(set(changed)) > 30
    with pytest.raises(AssertionError, match="not done after"), hung_after(1):
        for _ in itertools.count():
            pass
