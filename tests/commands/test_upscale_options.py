"""What ``upscale`` is asked for: sizes, names, formats; what it takes, passes over, protects and says."""

import io
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import srgan_lit
from helpers import foreign_networks, gifs
from helpers.mutations import hung_after
from srgan_lit import Generator, __main__, app, evaluate, prepare, save_generator, train, upscale
from srgan_lit.common import progress
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.model_files import box
from srgan_lit.pictures import bicubic, rgb8
from srgan_lit.upscaling.target_sizes import TargetSize

RGB = Image.fromarray(np.add.outer(np.arange(20) * 5, np.arange(30) * 3).astype(np.uint8)).convert("RGB")


def run(*arguments: object) -> int:
    return upscale.main([*map(str, arguments), "--model", "bicubic"])


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# --- inputs are safe ----------------------------------------------------------------------------------------------


def test_no_result_replaces_an_input_of_the_same_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = tmp_path / "out" / "sub"
    for folder in (tmp_path / "in1" / "sub", inside):
        folder.mkdir(parents=True)
        RGB.save(folder / "x.png")
    before = (inside / "x.png").read_bytes()
    assert run(tmp_path / "in1", inside, "-o", tmp_path / "out", "--overwrite") == 2
    assert "is itself an input" in capsys.readouterr().err
    assert (inside / "x.png").read_bytes() == before
    assert run(tmp_path / "in1" / "sub" / "x.png", inside / "x.png", "-o", inside, "--overwrite") == 2
    (tmp_path / "link.png").symlink_to(inside / "x.png")  # the same file by another name
    assert run(tmp_path / "in1", tmp_path / "link.png", "-o", tmp_path / "out", "--overwrite") == 2
    assert (inside / "x.png").read_bytes() == before


def test_what_is_no_file_is_named_and_does_not_hang(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    RGB.save(folder / "good.png")
    os.mkfifo(folder / "fifo.png")
    (folder / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening, hung_after(60):
        listening.bind(str(folder / "socket.png"))
        assert run(folder, "-o", tmp_path / "out") == 1
        said = capsys.readouterr().err.splitlines()
        assert run(folder / "fifo.png", "-o", tmp_path / "fifo") == 1
        os.mkfifo(tmp_path / "fifo.mp4")
        pytest.importorskip("av")
        assert run(tmp_path / "fifo.mp4", "-o", tmp_path / "out") == 1
        assert "fifo.mp4: a FIFO, socket or device" in capsys.readouterr().err
    assert len(said) == 3
    for name in ("fifo.png", "device.png", "socket.png"):
        assert sum(name in line and "no regular file" in line for line in said) == 1, said
    assert size(tmp_path / "out" / "good.png") == (120, 80)


@pytest.mark.parametrize("output", ["-", "x.heic", "e2.tga", "large.PSD", "large.avi"])
def test_no_folder_is_made_of_what_is_meant_as_a_file(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    RGB.save("in.png")
    assert run("in.png", "-o", output) == 2
    assert f"-o {output}: " in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["in.png"]
    assert run("in.png", "-o", "out.v2") == 0  # a folder's name may have a dot
    assert size(Path("out.v2/in.png")) == (120, 80)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
def test_a_polite_kill_leaves_nothing_and_says_so_in_its_status(tmp_path: Path) -> None:
    Image.effect_noise((1500, 1500), 50).convert("RGB").save(tmp_path / "in.png")
    for number in (signal.SIGHUP, signal.SIGTERM):
        out = tmp_path / number.name
        command = [sys.executable, "-m", "srgan_lit.upscale", tmp_path / "in.png", "-o", out, "--tile", "64"]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # under nohup it is ignored, rightly
        )
        while not (out.is_dir() and list(out.iterdir())):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 128 + number
        assert f"ended by {number.name}" in said
        assert "Traceback" not in said
        assert list(out.iterdir()) == []


# --- what is taken, and what is passed over -----------------------------------------------------------------------


def test_every_file_that_is_passed_over_is_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    RGB.save(folder / "good.png")
    RGB.save(folder / "photo.jfif", "JPEG")
    for name in ("clip.MP4", "layers.psd", *(f"{number}.txt" for number in range(7))):
        (folder / name).write_bytes(b"x")
    assert run(folder, "-o", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "2 enlarged, 0 failed, 9 passed over" in said.out
    assert said.err.startswith("9 files passed over: ")
    for part in ("clip.MP4 (a video", "layers.psd (psd is not read: save it as png or jpg)", "4.txt and 2 more (no"):
        assert part in said.err
    with Image.open(tmp_path / "out" / "photo.jfif") as result:
        assert (result.format, result.size) == ("JPEG", (120, 80))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    assert run(tmp_path / "empty", "-o", tmp_path / "out2") == 1
    assert "no pictures in this folder (1 other files: notes.txt, no picture by its name)" in capsys.readouterr().err


def test_heic_is_read_by_upscale_and_training_and_named_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heif")
    folder = tmp_path / "in"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    heif.from_pillow(RGB).save(folder / "x.heic", quality=95)
    heif.register_heif_opener()
    RGB.save(folder / "IMG_1.HEIC", "HEIF", quality=95, exif=exif.tobytes())
    assert b"irot" in (folder / "IMG_1.HEIC").read_bytes()  # as phones turn their pictures
    assert run(folder, "-o", tmp_path / "out") == 0
    assert size(tmp_path / "out" / "x.jpg") == (120, 80)
    upright = RGB.transpose(Image.Transpose.ROTATE_270)
    with Image.open(tmp_path / "out" / "IMG_1.jpg") as result:
        assert (result.format, result.getexif()[0x010F], result.getexif().get(0x0112, 1)) == ("JPEG", "Maker", 1)
        off = np.asarray(result.convert("RGB")).astype(int) - bicubic.enlarge(np.asarray(upright), 4)
        assert np.abs(off).mean() < 4
    off = rgb8.read_picture(folder / "IMG_1.HEIC").pixels.astype(int) - np.asarray(upright)
    assert np.abs(off).mean() < 4
    assert run(folder / "x.heic", "-o", tmp_path / "x.png", "--scale", 2) == 0
    assert size(tmp_path / "x.png") == (60, 40)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    assert run(folder, "-o", tmp_path / "without") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("pip install 'srgan_lit[heif]'" in line for line in said)
    with pytest.raises(SRGANError, match=r"x\.heic.*srgan_lit\[heif\]"):
        rgb8.read_picture(folder / "x.heic")


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    file = io.BytesIO()
    RGB.save(file, "PNG")
    whole = file.getvalue()
    added = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return whole[:33] + added + whole[33:]  # right after the header


def test_what_a_png_says_of_its_colours_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gamma = (b"gAMA", struct.pack(">I", 62500))
    primaries = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
    (tmp_path / "in.png").write_bytes(png_with(gamma, primaries))
    assert run(tmp_path / "in.png", "-o", tmp_path / "out.png") == 0
    content = (tmp_path / "out.png").read_bytes()
    assert all(kind + value in content for kind, value in (gamma, primaries))
    assert capsys.readouterr().err == ""
    assert run(tmp_path / "in.png", "-o", tmp_path / "out.jpg") == 0
    assert "out.jpg: without gAMA and cHRM of its PNG" in capsys.readouterr().err
    (tmp_path / "srgb.png").write_bytes(png_with((b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455))))
    assert run(tmp_path / "srgb.png", "-o", tmp_path / "srgb.jpg") == 0
    assert capsys.readouterr().err == ""
    assert run(tmp_path / "srgb.png", "-o", tmp_path / "srgb2.png") == 0
    with Image.open(tmp_path / "srgb2.png") as result:
        assert (result.info["srgb"], round(result.info["gamma"], 4)) == (0, 0.4546)


# --- sizes --------------------------------------------------------------------------------------------------------


def test_any_size_and_the_same_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RGB.save(tmp_path / "in.png", dpi=(72, 72))
    asked = {
        "--scale 2": (60, 40),
        "--scale 3": (90, 60),
        "--width 100": (100, 67),
        "--height 50": (75, 50),
        "--max-side 64": (64, 43),
        "--megapixels 0.005": (86, 57),
        "--width 90 --height 30": (45, 30),
        "--max-side 15": (15, 10),
    }
    for number, (options, expected) in enumerate(asked.items()):
        target = tmp_path / f"{number}.png"
        assert run(tmp_path / "in.png", "-o", target, *options.split()) == 0
        with Image.open(target) as result:
            assert result.size == expected, options
            assert result.info["dpi"][1] == pytest.approx(72 * expected[1] / 20, abs=0.1)
    with Image.open(tmp_path / "0.png") as result:
        whole = bicubic.enlarge(np.asarray(RGB), 4)
        assert np.array_equal(np.asarray(result), bicubic.resize(whole, 40, 60))
    assert run(tmp_path / "in.png", "-o", tmp_path / "large.png", "--width", 121) == 1
    assert "4.03 times 30x20 pixels is more than this model makes, which is 4 times (120x80)" in capsys.readouterr().err
    assert run(tmp_path / "in.png", "-o", tmp_path / "large.png", "--scale", 2, "--width", 60) == 2
    for wrong in ("--scale 0", "--width 1.5", "--megapixels x", "--max-side 0", "--quality 101"):
        with pytest.raises(SystemExit) as stopped:
            run(tmp_path / "in.png", "-o", tmp_path / "large.png", *wrong.split())
        assert stopped.value.code == 2
    assert not (tmp_path / "large.png").exists()


def test_a_generator_of_two_times_makes_two_times(tmp_path: Path) -> None:
    generator = foreign_networks.randomised(Generator(blocks=1, features=4, scale=2))
    save_generator(tmp_path / "x2.safetensors", generator)
    RGB.save(tmp_path / "in.png")
    with_x2 = ["--model", str(tmp_path / "x2.safetensors")]
    assert upscale.main([str(tmp_path / "in.png"), *with_x2]) == 0
    assert size(tmp_path / "in_x2.png") == (60, 40)
    with Image.open(tmp_path / "in_x2.png") as result:
        assert np.abs(np.asarray(result).astype(int) - srgan_lit.enlarge(np.asarray(RGB), generator)).max() <= 1
    assert upscale.main([str(tmp_path / "in.png"), *with_x2, "--scale", "3"]) == 1


def test_large_and_long_is_told_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (1500, 800)).save(tmp_path / "in.jpg")
    monkeypatch.setattr(upscale, "_LARGE_MEGAPIXELS", 15)
    monkeypatch.setattr(upscale, "_LONG_SECONDS", 0)
    said: list[str] = []
    monkeypatch.setattr(upscale, "_do", lambda *_: said.append(capsys.readouterr().err))
    assert run(tmp_path / "in.jpg", "-o", tmp_path / "out.jpg") == 0
    first, second = said[0].splitlines()
    assert "1500x800 becomes 6000x3200, 19 megapixels; for less: --scale 2 (5 megapixels), or --megapixels" in first
    assert second.startswith("1 picture, 1 megapixels that become 19: about ")
    assert run(tmp_path / "in.jpg", "-o", tmp_path / "out.jpg", "--scale", 2) == 0
    assert "becomes" not in said[1]


def test_without_a_terminal_lines_say_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0)
    for name in ("a.png", "b.png"):
        RGB.save(tmp_path / name)
    assert run(tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("a.png (1 of 2): 50% of all done, about ")
    assert len(lines) == 1
    assert [progress.duration(seconds) for seconds in (0.1, 80, 600, 9000)] == [
        "1 seconds", "80 seconds", "10 minutes", "2.5 hours",
    ]  # fmt: skip


# --- names and formats --------------------------------------------------------------------------------------------


def test_without_an_output_results_lie_beside_their_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    RGB.save("photos/sub/b.png")
    RGB.save("a.png")
    assert run("a.png", "photos") == 0
    assert size(Path("a_x4.png")) == (120, 80)
    assert size(Path("photos_x4/sub/b.png")) == (120, 80)
    assert run("a.png") == 2  # it is there already
    assert run("*.png", "--overwrite") == 0
    assert "1 file passed over: a_x4.png (the result of a.png)" in capsys.readouterr().err
    assert not Path("a_x4_x4.png").exists()
    assert run("a.png", "--scale", 2) == 0
    assert size(Path("a_x2.png")) == (60, 40)
    assert run("a.png", "--width", 100) == 0
    assert size(Path("a_large.png")) == (100, 67)
    assert run("a.png", "--suffix=-big", "--format", "webp") == 0
    assert size(Path("a-big.webp")) == (120, 80)
    assert run("a.png", "photos", "--suffix", "_2", "-o", "out") == 0
    assert size(Path("out/sub/b_2.png")) == size(Path("out/a_2.png")) == (120, 80)
    assert run("a.png", "--suffix", "/../x") == 2
    monkeypatch.chdir("photos")
    assert run(".") == 2  # photos_x4 again
    assert run(".", "--suffix", "_again") == 0
    assert (tmp_path / "photos_again" / "sub" / "b.png").exists()


def test_quality_and_lossless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = Image.effect_noise((150, 90), 80).convert("RGB")
    noise.save(tmp_path / "in.png")
    larger = bicubic.enlarge(np.asarray(noise), 4)
    for suffix in ("jpg", "webp", "avif"):
        sizes = []
        for quality in (20, 90):
            target = tmp_path / f"{quality}.{suffix}"
            assert run(tmp_path / "in.png", "-o", target, "--quality", quality) == 0
            sizes.append(target.stat().st_size)
        assert sizes[0] < 0.7 * sizes[1], suffix
    expected = io.BytesIO()  # every band of it
    Image.fromarray(larger).save(expected, "JPEG", quality=20, subsampling=0)
    with Image.open(tmp_path / "20.jpg") as ours, Image.open(expected) as theirs:
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    assert run(tmp_path / "in.png", "-o", tmp_path / "exact.webp", "--lossless") == 0
    with Image.open(tmp_path / "exact.webp") as result:
        assert np.array_equal(np.asarray(result.convert("RGB")), larger)
    capsys.readouterr()
    assert run(tmp_path / "in.png", "-o", tmp_path / "out.jpg", "--lossless") == 2
    assert "JPEG always loses something" in capsys.readouterr().err
    assert run(tmp_path / "in.png", "-o", tmp_path / "out.png", "--quality", 50) == 2
    assert run(tmp_path / "in.png", "-o", tmp_path / "out.webp", "--quality", 50, "--lossless") == 2
    assert run(tmp_path / "in.png", "-o", tmp_path / "out.png", "--lossless") == 0  # as it is anyway


@pytest.mark.parametrize("suffix", ["webp", "avif", "gif"])
def test_what_is_held_whole_and_does_not_fit_is_refused_before_it_is_computed(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    RGB.save(tmp_path / "in.png")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=100_000))
    computed: list[object] = []
    monkeypatch.setattr("srgan_lit.upscaling.engine.Enlarger.window", lambda _, pixels: computed.append(pixels))
    assert run(tmp_path / "in.png", "-o", tmp_path / f"out.{suffix}") == 1
    said = capsys.readouterr().err
    assert "120x80 pixels as" in said
    assert "--format jpeg" in said
    assert not computed
    assert not (tmp_path / f"out.{suffix}").exists()
    monkeypatch.undo()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=100_000))
    assert run(tmp_path / "in.png", "-o", tmp_path / "out.jpg", "--tile", 8) == 0  # in bands


def test_shares_are_read_and_refused_alike(capsys: pytest.CaptureFixture[str]) -> None:
    parse = upscale.build_parser().parse_args
    assert parse(["x.png", "--fidelity", "50%"]).fidelity == parse(["x.png", "--fidelity", "0.5"]).fidelity == 0.5
    for wrong in ("50", "half", "150%", "nan"):
        with pytest.raises(SystemExit):
            parse(["x.png", "--fidelity", wrong])
        assert f"{wrong!r} is not a share from 0 to 1, such as 0.5 or 50%" in capsys.readouterr().err
    parse = evaluate.build_parser().parse_args
    needed = ["--model", "bicubic", "--out", "o", "--validation-share"]
    assert parse([*needed, "10%"]).validation_share == parse([*needed, "0.1"]).validation_share == 0.1
    for wrong in ("0", "1", "x", "nan"):
        with pytest.raises(SystemExit):
            parse([*needed, wrong])
        assert f"{wrong!r} is not a share above 0 and below 1, such as 0.5 or 50%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "option"), [(upscale, "--max-megapixels"), (upscale, "--scale"), (app, "--timeout")]
)
def test_numbers_are_read_and_refused_alike(
    command: types.ModuleType, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["x.png"] if command is upscale else []
    for wrong in ("x", "nan", "inf", "0", "-1"):
        with pytest.raises(SystemExit) as ended:
            command.main([*given, f"{option}={wrong}"])
        assert ended.value.code == 2
        said = f"argument {option}: {wrong!r} is not a number above 0 and below a million"
        assert capsys.readouterr().err.splitlines()[-1].endswith(said)


def test_every_command_says_its_version_and_the_package_lists_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"srgan_lit {srgan_lit.__version__}\n"
    for module in (upscale, prepare):
        with pytest.raises(SystemExit) as stopped:
            module.main(["--version"])
        assert (stopped.value.code, capsys.readouterr().out) == (0, said)
    monkeypatch.setattr(sys, "argv", ["srgan-train", "--version"])
    train.main()
    assert capsys.readouterr().out == said
    monkeypatch.setattr(sys, "argv", ["srgan_lit"])
    assert __main__.listing() == 0
    listed = capsys.readouterr().out
    commands = {path.stem for path in Path(upscale.__file__).parent.glob("*.py") if "def main(" in path.read_text()}
    assert all(f"python -m srgan_lit.{command} " in listed for command in commands)
    assert set(__main__.COMMANDS) == commands
    monkeypatch.setattr(sys, "argv", ["srgan_lit", "upscael"])
    assert __main__.listing() == 2


# --- in a program -------------------------------------------------------------------------------------------------


def test_ranges_that_cannot_be_are_refused() -> None:
    picture = np.asarray(RGB)
    for wrong in (picture.astype(np.float32), torch.tensor(picture).permute(2, 0, 1).float(), picture / 127.5 - 1):
        with pytest.raises(UsageError, match=r"must be in \[0, 1\], and this one reaches from"):
            srgan_lit.enlarge(wrong, "bicubic")
    with pytest.raises(UsageError, match="reaches from nan"):
        srgan_lit.enlarge(np.full((4, 4), np.nan), "bicubic")
    srgan_lit.enlarge(picture / 255 * 1.1 - 0.05, "bicubic")  # a little beyond, as bicubic and networks go


def test_models_by_name_by_default_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.asarray(RGB)
    loaded = srgan_lit.load_generator("srgan")
    expected = srgan_lit.enlarge(picture, loaded)
    assert np.array_equal(srgan_lit.enlarge(picture), expected)
    assert np.array_equal(srgan_lit.enlarge(picture, "srgan", device="cpu"), expected)
    faithful = srgan_lit.enlarge(picture, "srresnet")
    assert np.abs(srgan_lit.enlarge(picture, fidelity=1).astype(int) - faithful).max() <= 1
    assert np.abs(expected.astype(int) - faithful).max() > 1
    half: Any = srgan_lit.enlarge(RGB, loaded, size=TargetSize(scale=2))
    assert half.size == (60, 40)
    assert np.array_equal(np.asarray(half), bicubic.resize(expected, 40, 60))
    assert srgan_lit.enlarge(torch.rand(2, 3, 6, 8), "bicubic", size=TargetSize(width=20)).shape == (2, 3, 15, 20)
    assert srgan_lit.enlarge(picture[..., 0], "bicubic", size=TargetSize(scale=1.5)).shape == (30, 45)
    for wrong, what in (({"generator": loaded, "fidelity": 0.5}, "name or a path"), ({"generator": 5}, "not int")):
        with pytest.raises(UsageError, match=what):
            srgan_lit.enlarge(picture, **wrong)
    with pytest.raises(SRGANError, match="nonesuch"):
        srgan_lit.enlarge(picture, "nonesuch")


# --- animations, and a long list of pictures ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_frames_are_disposed_of_to_the_pixel(suffix: str, tmp_path: Path) -> None:
    shown = gifs.write(tmp_path / "in.gif", gifs.ALL_DISPOSALS)
    options = ["--lossless"] if suffix == "webp" else []
    assert run(tmp_path / "in.gif", "-o", tmp_path / f"out.{suffix}", *options) == 0
    with Image.open(tmp_path / f"out.{suffix}") as result:
        assert result.n_frames == len(shown)
        for number, expected in enumerate(shown):
            result.seek(number)
            pixels = np.asarray(result.convert("RGBA"))
            # What bicubic makes of a frame is compared where a pixel's neighbourhood is of one colour.
            for row in range(expected.shape[0]):
                for column in range(expected.shape[1]):
                    around = expected[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3].reshape(-1, 4)
                    if (around == around[0]).all():
                        block = pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(-1, 4)
                        assert (block[:, 3] == around[0, 3]).all(), (number, row, column)
                        assert around[0, 3] == 0 or (block == around[0]).all(), (number, row, column)


@pytest.mark.slow
def test_memory_stays_flat_over_a_thousand_pictures(tmp_path: Path) -> None:
    """One command: the peak after a thousand pictures is that after a hundred, to a few MiB."""
    folder = tmp_path / "in"
    folder.mkdir()
    kinds = ("png", "jpg", "webp", "tif", "gif", "bmp")
    for number in range(1000):
        RGB.resize((24, 18)).rotate(number).save(folder / f"{number:04}.{kinds[number % len(kinds)]}")
    program = f"""
import resource, sys
import srgan_lit.upscale
from srgan_lit.pictures import full_files
write, peaks = full_files.write, []
def counted(*arguments, **options):
    write(*arguments, **options)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
full_files.write = counted
assert srgan_lit.upscale.main([{str(folder)!r}, "-o", {str(tmp_path / "out")!r}, "--model", "srgan"]) == 0
assert len(peaks) == 1000
print((peaks[-1] - peaks[100]) / 1024)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(result.stdout.splitlines()[-1]) < 16, "MiB more after 900 more pictures"


def test_the_models_in_the_box_are_listed_without_a_picture(capsys):
    with pytest.raises(SystemExit) as ended:
        upscale.main(["--list-models"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    for name, boxed in box.GENERATORS.items():
        assert re.search(rf"^\| {name} +\| {boxed.alias} +\| {re.escape(boxed.take_when)} +\|$", listed, re.MULTILINE)
