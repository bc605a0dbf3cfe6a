"""How large a result is to be, and the exact bicubic reduction to it, band by band."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import foreign_networks
from srgan_lit import Generator
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.pictures import bicubic, bicubic_bands
from srgan_lit.pictures.bicubic_tensors import Bicubic
from srgan_lit.upscaling import engine
from srgan_lit.upscaling.target_sizes import TargetSize


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (1200, 1600)),
        ({"scale": 2}, (600, 800)),
        ({"scale": 1.5}, (450, 600)),
        ({"width": 1000}, (750, 1000)),
        ({"height": 333}, (333, 444)),
        ({"width": 1000, "height": 333}, (333, 444)),  # into both
        ({"max_side": 1000}, (750, 1000)),
        ({"max_side": 9000}, (1200, 1600)),  # a limit, not an aim
        ({"megapixels": 1}, (866, 1154)),
        ({"megapixels": 50}, (1200, 1600)),
        ({"scale": 2, "megapixels": 0.12}, (300, 400)),
        ({"max_side": 100}, (75, 100)),  # less than the picture has
    ],
)
def test_what_is_asked_for_is_what_comes_out(asked: dict[str, float], expected: tuple[int, int]) -> None:
    height, width = TargetSize(**asked).of(300, 400, own_scale=4)
    assert (height, width) == expected
    assert "megapixels" not in asked or height * width <= asked["megapixels"] * 1e6


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SRGANError, match=r"4.25 times 400x300.*\(1600x1200\)"):
        TargetSize(width=1700).of(300, 400, own_scale=4)
    with pytest.raises(SRGANError, match="3 times"):
        TargetSize(scale=3).of(300, 400, own_scale=2)
    for wrong in ({"scale": 0}, {"width": -5}, {"megapixels": float("nan")}, {"scale": 2, "width": 100}):
        with pytest.raises(UsageError):
            TargetSize(**wrong)


@settings(max_examples=80, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    after=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    channels=st.sampled_from((1, 3)),
    cuts=st.lists(st.integers(1, 39), max_size=5),
)
def test_a_picture_resized_in_bands_is_the_whole_resized(
    height: int, width: int, after: tuple[int, int], channels: int, cuts: list[int]
) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, channels), dtype=np.uint8)
    bands = [band for band in np.split(pixels, sorted(cuts)) if len(band)]
    result = np.concatenate(list(bicubic_bands.resize(iter(bands), (height, width), after)))
    assert np.array_equal(result, bicubic.resize(pixels, *after))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_depth_stays_and_what_is_hidden_has_no_colour(dtype: type) -> None:
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    picture = np.zeros((32, 32, 4), dtype=dtype)
    picture[:, :15] = np.array([white * 0.8, white * 0.6, white * 0.4, white]).astype(dtype)
    (result,) = bicubic_bands.resize([picture], (32, 32), (9, 9))
    assert result.dtype == dtype
    assert (result[:, :3, 3] == white).all()
    assert (result[:, -3:, 3] == 0).all()
    seen = result[..., 3] > white * 0.01
    assert np.abs(result[seen][:, :3].astype(float) / white - (0.8, 0.6, 0.4)).max() < 0.01


def test_a_smaller_result_is_the_generators_own_reduced() -> None:
    generator = foreign_networks.randomised(Generator(blocks=1, features=8))
    enlarger = engine.Enlarger(generator)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 37, 3), dtype=np.uint8)
    whole = engine.enlarge(pixels, generator)
    for size in ((100, 74), (151, 113), (51, 38)):
        result = np.concatenate(list(engine.bands(pixels, enlarger, size=size, tile=16)))
        assert np.abs(result.astype(int) - bicubic.resize(whole, *size)).max() <= 1  # tiles round differently
    done: list[int] = []
    (shrunk,) = engine.bands(pixels, enlarger, size=(20, 15), on_progress=done.append)
    assert np.array_equal(shrunk, bicubic.resize(pixels, 20, 15))  # no network makes a picture smaller
    assert sum(done) == 50 * 37
    doubled = np.concatenate(list(engine.bands(pixels, engine.Enlarger(Bicubic(2)), size=(100, 74))))
    assert np.array_equal(doubled, bicubic.enlarge(pixels, 2))
