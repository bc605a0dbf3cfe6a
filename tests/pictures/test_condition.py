"""JPEG's blocks and noise are told from texture and from clean photographs, wherever the picture was cut."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from srgan_lit.data import sets
from srgan_lit.pictures import bicubic, condition, rgb8

PHOTOS = [rgb8.read_picture(path).pixels for path in sorted((sets.SAMPLE / "test").glob("*.png"))]


def jpeg(pixels, quality):
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
        return np.asarray(Image.open(file))


@pytest.mark.parametrize("cut", [(0, 0), (3, 5)])
def test_the_worse_the_jpeg_the_higher_the_steps_wherever_it_is_cut(cut):
    for photo in PHOTOS:
        cut_out = (slice(cut[0], None), slice(cut[1], None))
        found = [condition.measure(jpeg(photo, quality)[cut_out]) for quality in (25, 60)]
        clean = condition.measure(photo[cut_out])
        assert found[0].block_step > found[1].block_step > clean.block_step + 1
        assert found[0].block_ratio > found[1].block_ratio > clean.block_ratio
        assert clean.block_step < 1


def test_white_noise_is_measured_and_not_taken_for_blocks():
    rng = np.random.default_rng(0)
    for photo in PHOTOS:
        noisy = np.clip(photo + rng.normal(0, 8, photo.shape), 0, 255).round().astype(np.uint8)
        found, clean = condition.measure(noisy), condition.measure(photo)
        # Of the luma of three independent channels two thirds are left, and of that the calmest cells' share.
        assert 3.5 < found.noise < 6
        assert found.noise > clean.noise + 2
        assert found.block_step < 1
        assert found.unevenness < 1.5 < clean.unevenness
        assert 5 < found.colour_noise < 8
        assert clean.colour_noise < 1


def test_noise_that_the_channels_share_is_none_of_the_colours():
    rng = np.random.default_rng(0)
    for photo in PHOTOS:
        grain = np.clip(photo + rng.normal(0, 8, (*photo.shape[:2], 1)), 0, 255).round().astype(np.uint8)
        found = condition.measure(grain)
        assert found.noise > 5
        assert found.colour_noise < 1
    assert condition.measure(grain[:, :, :1]).colour_noise == 0


def test_depths_alpha_and_grey_of_one_picture_are_in_one_condition():
    photo = jpeg(PHOTOS[0], 40)
    expected = condition.measure(photo)
    deep = photo.astype(np.uint16) * 257
    alpha = np.dstack([photo, np.full(photo.shape[:2], 7, np.uint8)])
    for same in (deep, photo.astype(np.float32) / 255, alpha):
        found = condition.measure(same)
        assert found.block_step == pytest.approx(expected.block_step, rel=1e-3)
        for name in ("noise", "unevenness", "colour_noise"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-2, abs=1e-2)
    grey = np.asarray(Image.fromarray(photo).convert("L"))[:, :, None]
    assert condition.measure(grey).block_step == pytest.approx(expected.block_step, rel=0.1)


def test_of_a_large_picture_the_middle_counts():
    large = bicubic.resize(PHOTOS[0], 1500, 1600)
    middle = large.copy()
    middle[238:1262, 288:1312] = jpeg(large[238:1262, 288:1312], 25)
    assert condition.measure(middle).block_step > condition.measure(large).block_step + 1


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)),
    )
)
def test_any_picture_has_a_condition(pixels):
    found = condition.measure(pixels)
    assert found.noise >= 0
    assert found.unevenness >= 1
    assert found.colour_noise >= 0
    assert found.block_step >= 0
    assert found.block_ratio >= 1
