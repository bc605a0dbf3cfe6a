"""What is shown of an animated GIF, frame by frame and to the pixel: by the specification, and by ImageMagick."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import gifs
from helpers.imagemagick import converter
from srgan_lit.pictures import full_files, rgb8

COVERED = {"all disposals": gifs.ALL_DISPOSALS, "none after one": gifs.NO_DISPOSAL_AFTER_ONE}


def frames(path: Path) -> list[np.ndarray]:
    with full_files.opened(path) as opened:
        return [opened.frame(number) for number in range(opened.info.frames)]


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return pixels if pixels.shape[2] == 4 else np.concatenate([pixels, opaque], axis=2)


def equal(result: np.ndarray, expected: np.ndarray) -> bool:
    """Whether both show the same: what is clear has no colour."""
    visible = expected[..., 3] > 0
    return bool(np.array_equal(result[..., 3], expected[..., 3]) and np.array_equal(result[visible], expected[visible]))


@pytest.mark.parametrize("background", [0, 3])
@pytest.mark.parametrize("clear", [True, False], ids=["with a clear colour", "without one"])
@pytest.mark.parametrize("name", [*COVERED, *gifs.NOT_COVERED])
def test_frames_are_disposed_of_to_the_pixel(name: str, clear: bool, background: int, tmp_path: Path) -> None:
    parts = (COVERED | gifs.NOT_COVERED)[name]
    expected = gifs.write(tmp_path / "a.gif", parts, clear=clear, background=background)
    result = frames(tmp_path / "a.gif")
    assert [equal(*pair) for pair in zip(result, expected, strict=True)] == [True] * len(parts)
    with full_files.opened(tmp_path / "a.gif") as opened:  # in any order
        for number in (2, 0, 3, 3, 1):
            assert equal(opened.frame(number), expected[number])
    if converter() is None or name not in COVERED:  # where nothing was drawn, ImageMagick shows the background
        return
    command = [converter(), str(tmp_path / "a.gif"), "-coalesce", "-depth", "8", "rgba:-"]
    seen = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    for frame, independent in zip(result, seen.reshape(-1, gifs.HEIGHT, gifs.WIDTH, 4), strict=True):
        assert equal(frame, independent)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("clear", [True, False], ids=["with a clear colour", "without one"])
@pytest.mark.parametrize("name", [*COVERED, *gifs.NOT_COVERED])
def test_training_sees_the_first_frame_that_upscale_does_laid_over_white(
    name: str, clear: bool, count: int, tmp_path: Path
) -> None:
    parts = (COVERED | gifs.NOT_COVERED)[name][:count]
    expected = gifs.write(tmp_path / "a.gif", parts, clear=clear)[0]
    assert equal(with_alpha(frames(tmp_path / "a.gif")[0]), expected)
    on_white = np.where(expected[..., 3:] > 0, expected[..., :3], 255)
    assert np.array_equal(rgb8.read_picture(tmp_path / "a.gif").pixels, on_white)


def test_a_grey_animation_is_grey(tmp_path: Path) -> None:
    levels = np.arange(600).reshape(20, 30) % 256  # all of them: else Pillow writes a palette of those that occur
    greys = [Image.fromarray(((levels + number) % 256).astype(np.uint8)) for number in range(2)]
    greys[0].save(tmp_path / "grey.gif", save_all=True, append_images=greys[1:])
    picture = rgb8.read_picture(tmp_path / "grey.gif")
    assert picture.grey
    assert np.array_equal(picture.pixels, np.asarray(greys[0].convert("RGB")))


def test_what_an_encoder_writes_comes_back(tmp_path: Path) -> None:
    """Local colour tables, interlaced, moving, with and without clear pixels: Pillow's encoder and its decoder."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(5):
        pixels = rng.integers(0, 4, (20, 30, 4), dtype=np.uint8) * 85
        pixels[..., 3] = 255
        pixels[: number * 3, :5, 3] = 0
        pictures.append(Image.fromarray(pixels))
    for options in ({"disposal": 2}, {"disposal": 2, "interlace": True, "optimize": False}):
        pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=40, **options)
        for result, picture in zip(frames(tmp_path / "a.gif"), pictures, strict=True):
            assert equal(result, np.asarray(picture)), options
    greys = [picture.convert("L") for picture in pictures]
    greys[0].save(tmp_path / "grey.gif", save_all=True, append_images=greys[1:])
    for result, picture in zip(frames(tmp_path / "grey.gif"), greys, strict=True):
        assert equal(result, np.asarray(picture.convert("RGBA")))


def test_a_file_that_is_cut_is_refused_or_shown(tmp_path: Path) -> None:
    gifs.write(tmp_path / "a.gif", gifs.ALL_DISPOSALS)
    whole = (tmp_path / "a.gif").read_bytes()
    counts, refusals = set(), []
    for length in range(13, len(whole)):
        (tmp_path / "cut.gif").write_bytes(whole[:length])
        try:
            counts.add(len(frames(tmp_path / "cut.gif")))
        except full_files.SRGANError as error:
            refusals.append(str(error))
    assert max(counts) == 5
    assert refusals
    assert not [each for each in refusals if "\n" in each or "list index" in each]
