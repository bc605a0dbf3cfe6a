"""Videos through the upscaler: times, sound, colours and depth stay; what is no whole video is refused by name."""

import contextlib
import io
import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import srgan_lit.upscale
from helpers.mutations import attack

RED, BLUE, GREEN = (200, 40, 40), (30, 60, 210), (90, 200, 90)
WIDTH, HEIGHT, FRAMES = 48, 32, 36


def film(
    path: Path,
    encoder: str = "libx264",
    *,
    sound: str = "aac",
    uneven: bool = False,
    pixels: str = "yuv420p",
    turned: int = 0,
    rate: Fraction = Fraction(24000, 1001),
    options: dict[str, str] | None = None,
) -> Path:
    """A second and a half: red and blue halves under a green quarter, and a tone."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2], picture[:, WIDTH // 2 :], picture[: HEIGHT // 4] = RED, BLUE, GREEN
    with av.open(str(path), "w") as made:
        video = made.add_stream(encoder, rate=rate, options={"crf": "4", **(options or {})})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, pixels
        audio = made.add_stream(sound, rate=48000)
        made.metadata["title"] = "a film"
        if turned:
            video.set_display_rotation(turned)
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number + (number // 3 if uneven else 0), 1 / rate
            made.mux(video.encode(frame))
        made.mux(video.encode(None))
        samples = np.sin(np.arange(int(48000 * FRAMES / rate)) / 17).astype(np.float32)[None]
        tone = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        tone.sample_rate, tone.pts = 48000, 0
        context = audio.codec_context
        resampler = av.AudioResampler(context.format.name, context.layout.name, 48000, context.frame_size or 1024)
        for piece in [*resampler.resample(tone), *resampler.resample(None)]:
            made.mux(audio.encode(piece))
        made.mux(audio.encode(None))
    return path


def upscale(*arguments: object) -> int:
    return srgan_lit.upscale.main([*map(str, arguments), "--model", "bicubic"])


def frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as opened:
        return list(opened.decode(video=0))


def sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as opened:
        return [bytes(packet) for packet in opened.demux(audio=0) if packet.dts is not None]


def times(path: Path) -> list[float]:
    return [frame.time for frame in frames(path)]


def colour(frame: av.VideoFrame, down: float, right: float) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24").astype(int)
    return pixels[int(down * pixels.shape[0]), int(right * pixels.shape[1])]


KINDS = {
    "film.mp4": {},
    "uneven.mkv": {"uneven": True},
    "film.mov": {},
    "film.webm": {"encoder": "libvpx-vp9", "sound": "libopus"},
    "old.avi": {"encoder": "mpeg4", "sound": "libmp3lame", "rate": Fraction(25), "options": {"qmax": "2"}},
}


@pytest.mark.parametrize("name", KINDS)
def test_frames_times_sound_and_colours_stay(name: str, tmp_path: Path) -> None:
    source = film(tmp_path / name, **KINDS[name])
    assert upscale(source, "-o", tmp_path / "out") == 0
    [result] = (tmp_path / "out").iterdir()
    assert result.name == name.replace(".avi", ".mkv")
    assert (frames(result)[0].width, frames(result)[0].height) == (4 * WIDTH, 4 * HEIGHT)
    assert times(result) == pytest.approx(times(source), abs=1e-6 if result.suffix == source.suffix else 1e-3)
    assert sound(result) == sound(source)
    for at in ((0.7, 0.2), (0.7, 0.8), (0.1, 0.5)):
        for before, after in zip(frames(source)[::9], frames(result)[::9], strict=True):
            assert np.abs(colour(before, *at) - colour(after, *at)).max() <= 3
    with av.open(str(source)) as before, av.open(str(result)) as after:
        assert before.streams.video[0].average_rate == after.streams.video[0].average_rate
        assert after.duration == pytest.approx(before.duration, abs=50_000)  # microseconds; a frame or so
        assert after.metadata.get("title", after.metadata.get("TITLE")) == "a film"
        # Players take large unlabelled videos for BT.709, small ones for BT.601: it must say which.
        assert after.streams.video[0].codec_context.colorspace == 6


def test_a_phones_rotation_is_applied_once(tmp_path: Path) -> None:
    source = film(tmp_path / "phone.mp4", turned=90)
    assert frames(source)[0].rotation == 90
    assert upscale(source, "-o", tmp_path / "out.mp4") == 0
    frame = frames(tmp_path / "out.mp4")[0]
    assert (frame.rotation, frame.width, frame.height) == (0, 4 * HEIGHT, 4 * WIDTH)
    # Counterclockwise: what was right is up, what was up is left.
    for at, wanted in (((0.2, 0.6), BLUE), ((0.8, 0.6), RED), ((0.5, 0.1), GREEN)):
        assert np.abs(colour(frame, *at) - wanted).max() <= 6


def test_ten_bits_stay(tmp_path: Path) -> None:
    source = film(tmp_path / "deep.mkv", pixels="yuv420p10le")
    assert upscale(source, "-o", tmp_path / "out.mkv") == 0
    frame = frames(tmp_path / "out.mkv")[0]
    assert frame.format.name == "yuv420p10le"
    assert np.abs(colour(frame, 0.7, 0.2) - colour(frames(source)[0], 0.7, 0.2)).max() <= 1


def cut(content: bytes) -> bytes:
    return content[: len(content) * 6 // 10]


def test_bad_videos_are_named_and_the_good_one_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = film(tmp_path / "good.mkv")
    content = good.read_bytes()
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{good}\n#EXT-X-ENDLIST\n"
    bad = {
        "cut.mkv": (cut(content), "cut off"),
        "cut.mp4": (cut(film(tmp_path / "whole.mp4").read_bytes()), "not a readable video"),
        "empty.mp4": (b"", "not a readable video"),
        "text.mkv": (b"hello", "not a readable video"),
        "playlist.mp4": (playlist.encode(), "not a readable video"),  # must not open another file
        "list.mkv": (f"ffconcat version 1.0\nfile {good}\n".encode(), "not a readable video"),
    }
    for name, (harmed, _) in bad.items():
        (tmp_path / name).write_bytes(harmed)
    inputs = [tmp_path / name for name in bad]
    assert upscale(*inputs, good, "-o", tmp_path / "out") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(bad)
    for line, (name, (_, reason)) in zip(said, bad.items(), strict=True):
        assert line.startswith(f"{tmp_path / name}: ")
        assert reason in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.mkv"]


@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        ({}, "out.webm", "webm cannot hold aac"),
        ({"encoder": "libx264", "pixels": "yuv420p10le", "sound": "libopus"}, "out.webm", "webm holds 8 bits"),
        ({"options": {"flags": "+ildct+ilme", "x264-params": "interlaced=1"}}, "out.mkv", "interlaced"),
    ],
)
def test_what_the_result_could_not_be_is_refused(
    kind: dict[str, object], target: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(tmp_path / "in.mkv", **kind)  # type: ignore[arg-type]
    assert upscale(source, "-o", tmp_path / target) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{source}: ")
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_large_frames_are_refused_before_they_are_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = film(tmp_path / "in.mkv")
    assert upscale(source, "-o", tmp_path / "out.mkv", "--max-megapixels", "0.001") == 1
    assert "48x32" in capsys.readouterr().err


def test_videos_become_videos_and_folders_are_for_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    film(tmp_path / "in" / "film.mp4")
    assert upscale(tmp_path / "in" / "film.mp4", "-o", tmp_path / "out.png") == 2
    assert "a video becomes a video" in capsys.readouterr().err
    assert upscale(tmp_path / "in", "-o", tmp_path / "out") == 1
    assert "(a video, which takes long: name it if it is meant)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_pyav_it_says_what_to_install(tmp_path: Path) -> None:
    film(tmp_path / "in.mp4")
    program = "import sys; sys.modules['av'] = None; from srgan_lit.upscale import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "in.mp4", "-o", "out.mp4", "--model", "bicubic"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        1,
        "in.mp4: videos need PyAV: pip install 'srgan_lit[video]'\n",
    )


@pytest.mark.parametrize("times", [40, pytest.param(1500, marks=pytest.mark.slow)])
def test_mutated_videos_are_enlarged_or_named(times: int, tmp_path: Path) -> None:
    short = [film(tmp_path / name, **KINDS[name]).read_bytes() for name in ("film.mp4", "uneven.mkv", "film.webm")]
    source, numbers = tmp_path / "in.mkv", itertools.count()

    def check(content: bytes) -> None:
        source.write_bytes(content)
        target = tmp_path / f"{next(numbers)}" / "out.mkv"
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            status = upscale(source, "-o", target, "--max-megapixels", "0.1")
        said = errors.getvalue().splitlines()
        left = list(target.parent.iterdir()) if target.parent.exists() else []
        if status == 0:
            assert left == [target]
            assert frames(target)
            assert all(line.startswith(f"{target}: without") for line in said)
        else:
            assert status == 1
            assert len(said) == 1, said
            assert said[0].startswith(f"{source}: ")
            assert left == []

    attack(short, check, times=times)
