"""Each kind does what its name says, seeded, and a crop's border is no border."""

import re

import numpy as np
import pytest

from srgan_lit.common.errors import UsageError
from srgan_lit.config.composition import CONF
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import degradations, sets
from srgan_lit.data.degradations import DEGRADATIONS, Part, degraded
from srgan_lit.pictures import bicubic, rgb8

HR = rgb8.read_picture(sets.SAMPLE / "test" / "chelsea.png").pixels
LR = bicubic.shrink(HR, 4)
BOX = (10, 20, 24, 16)
PART = LR[10:34, 20:36]
FIXED = ("blur_jpeg50", "noise_jpeg70", "jpeg30", "jpeg60", "jpeg85")
DEGRADING = [kind for kind in DEGRADATIONS if kind not in ("bicubic", *FIXED)]


def run(kind, seed, box=BOX, lr=PART, hr=HR):
    return degraded(Part(hr=hr, box=box, lr=lr, scale=4), kind=kind, rng=np.random.default_rng(seed))


def error(first, second):
    return float(np.sqrt(np.mean((first.astype(float) - second.astype(float)) ** 2)))


def test_bicubic_adds_nothing():
    assert run("bicubic", 0) is PART


@pytest.mark.parametrize("kind", DEGRADING)
def test_the_same_seed_gives_the_same_and_another_another(kind):
    assert np.array_equal(run(kind, 3), run(kind, 3))
    assert len({run(kind, seed).tobytes() for seed in range(30)}) > 20


@pytest.mark.parametrize("kind", DEGRADING)
def test_it_is_still_the_same_place(kind):
    errors = [error(run(kind, seed), PART) for seed in range(40)]
    elsewhere = error(LR[20:44, 40:56], PART)
    assert kind == "mixed" or all(found > 0 for found in errors)
    assert np.median(errors) < elsewhere


@pytest.mark.parametrize("box", [(0, 0, 24, 16), (51, 96, 24, 16), (0, 0, 75, 112)])
@pytest.mark.parametrize("kind", DEGRADING)
def test_parts_at_the_edge_and_the_whole(kind, box):
    top, left, height, width = box
    part = LR[top : top + height, left : left + width]
    result = run(kind, 1, box, part)
    assert result.shape == part.shape
    assert result.dtype == np.uint8
    assert error(result, part) < 60


def test_what_scores_are_made_with_is_what_its_name_says():
    def made(kind, seed=0):
        return run(kind, seed, (0, 0, *LR.shape[:2]), LR)

    for quality in (30, 60, 85):
        assert np.array_equal(made(f"jpeg{quality}", 1), degradations.compressed(LR, quality))
    at = np.arange(-9, 10)
    line = np.exp(-(at**2) / (2 * 0.8**2))
    soft = degradations.blurred(LR, np.outer(line, line) / line.sum() ** 2)
    assert error(made("blur_jpeg50"), degradations.compressed(soft, 50)) < 1.5
    assert not np.array_equal(made("noise_jpeg70", 0), made("noise_jpeg70", 1))
    flat = np.full((64, 64, 3), 128, dtype=np.uint8)
    noise = run("noise_jpeg70", 0, (0, 0, 64, 64), flat).astype(float) - 128
    assert 3 < noise.std() < 8, "a deviation of 8, of which JPEG takes a part"


def test_a_crop_is_blurred_as_the_whole_is(monkeypatch):
    # With noise off, a part must be exactly that part of the whole: the surroundings are taken along.
    monkeypatch.setattr(degradations, "noisy", lambda pixels, rng: pixels)
    whole = run("blur_noise", 5, (0, 0, *LR.shape[:2]), LR)
    assert np.array_equal(run("blur_noise", 5), whole[10:34, 20:36])
    assert error(whole, LR) > 0


def test_the_kernel_is_a_gaussian_of_the_width_drawn():
    for seed in range(20):
        kernel = degradations.blur_kernel(np.random.default_rng(seed))
        assert kernel.shape == (21, 21)
        assert kernel.sum() == pytest.approx(1)
        assert np.allclose(kernel, kernel[::-1, ::-1])
        across = np.arange(-10, 11)
        spread = np.sqrt((kernel.sum(axis=0) * across**2).sum())
        assert spread < degradations.BLUR_SIGMA[1] * 1.02


def test_blur_equals_a_convolution_written_out():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    kernel = rng.random((5, 5))
    kernel /= kernel.sum()
    padded = np.pad(pixels.astype(float), ((2, 2), (2, 2), (0, 0)), mode="edge")
    expected = np.zeros(pixels.shape)
    for row in range(5):
        for column in range(5):
            # A convolution turns its kernel round.
            expected += kernel[4 - row, 4 - column] * padded[row : row + 9, column : column + 8]
    assert np.abs(degradations.blurred(pixels, kernel) - expected).max() <= 0.5 + 1e-9


def test_noise_is_of_the_strength_drawn_and_centred():
    flat = np.full((64, 64, 3), 128, dtype=np.uint8)
    found = [degradations.noisy(flat, np.random.default_rng(seed)).astype(float) - 128 for seed in range(60)]
    assert all(abs(noise.mean()) < 3 for noise in found)
    # Gaussian up to 30; Poisson's is sqrt(128) = 11.3 times up to 3.
    assert min(noise.std() for noise in found) > 0.4
    assert max(noise.std() for noise in found) < 35
    grey = [np.array_equal(noise[..., 0], noise[..., 1]) for noise in found]
    assert 0.2 < np.mean(grey) < 0.6


def test_a_better_jpeg_is_nearer():
    assert error(degradations.compressed(LR, 95), LR) < error(degradations.compressed(LR, 30), LR)


def test_a_misspelt_kind_is_refused_with_the_nearest_before_pictures_are_looked_at():
    with pytest.raises(UsageError, match=r"data\.degradation=jpg: may be bicubic, .*jpeg.*Did you mean jpeg\?"):
        sets.check(DataConfig(name="folder", root="/nowhere", degradation="jpg"), 4)


@pytest.mark.parametrize("name", ["cufed", "folder", "sample"])
def test_the_configuration_says_which_there_are(name):
    before, _, _ = (CONF / "data" / f"{name}.yaml").read_text().partition("\ndegradation: ")
    assert set(DEGRADATIONS) <= set(re.findall(r"\w+", before.rpartition("# How LR is made")[2]))
