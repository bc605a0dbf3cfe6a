"""PSNR and SSIM against values worked out by hand and by other software; the measures without weights."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics.functional.image import structural_similarity_index_measure

from srgan_lit.evaluation import metrics
from srgan_lit.networks.initialisation import icnr_
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import bicubic, tensors

RGB = metrics.protocol("rgb_full")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def grey_levels(level: float, size: int = 16) -> Tensor:
    return torch.full((1, 3, size, size), level / 255)


def test_psnr_of_a_constant_difference_is_that_of_its_square():
    # MSE 25: 10 log10(65025 / 25)
    assert metrics.psnr(grey_levels(100), grey_levels(105), RGB).item() == pytest.approx(34.15140352195873)


def test_luma_of_a_grey_difference_is_shrunk_by_219_over_255():
    # Equal channels that differ by 5 differ by 5 * 219/255 in BT.601 luma; a grey picture is its own luma.
    rule = metrics.protocol("y_full")
    assert metrics.psnr(grey_levels(100), grey_levels(105), rule).item() == pytest.approx(
        20 * math.log10(255 / (5 * 219 / 255))
    )
    assert metrics.psnr(grey_levels(100), grey_levels(105), rule, grey=True).item() == pytest.approx(
        20 * math.log10(255 / 5)
    )


@pytest.mark.parametrize(("channel", "weight"), [(0, 65.481), (1, 128.553), (2, 24.966)])
def test_luma_weighs_the_channels_as_bt601(channel, weight):
    one, other = grey_levels(100), grey_levels(100)
    other[:, channel] += 10 / 255
    difference = 10 * weight / 255
    got = metrics.psnr(other, one, metrics.protocol("y_full")).item()
    assert got == pytest.approx(20 * math.log10(255 / difference))


def test_each_image_of_a_batch_is_scored_by_itself():
    hr = torch.cat([grey_levels(100), grey_levels(100)])
    sr = torch.cat([grey_levels(105), grey_levels(110)])
    got = metrics.psnr(sr, hr, RGB)
    assert got.shape == (2,)
    assert got[0] - got[1] == pytest.approx(20 * math.log10(2))


def test_shave_cuts_exactly_that_many_pixels():
    hr, sr = grey_levels(100, 24), grey_levels(100, 24)
    sr[..., :4, :] = sr[..., -4:, :] = sr[..., :, :4] = sr[..., :, -4:] = 0
    assert metrics.psnr(sr, hr, metrics.protocol("y_shave4")).item() == math.inf
    assert metrics.psnr(sr, hr, metrics.protocol("y_shave3")).item() < 40


def test_what_is_scored_is_what_a_file_would_hold():
    # Overshoot is clamped and fractions of a level are rounded before anything is compared.
    hr = torch.ones(1, 3, 16, 16)
    assert metrics.psnr(hr + 0.3, hr, RGB).item() == math.inf
    assert metrics.psnr(hr - 0.4 / 255, hr, RGB).item() == math.inf
    assert metrics.psnr(hr - 0.6 / 255, hr, RGB).item() == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize("name", ["rgb_full", "y_full", "y_shave4"])
def test_ssim_is_that_of_torchmetrics_over_valid_windows(name):
    hr = noise(2, 3, 40, 33)
    sr = hr + 0.2 * (noise(2, 3, 40, 33, seed=1) - 0.5)
    rule = metrics.protocol(name)
    a, b = (tensors.to_uint8(image).double() for image in (sr, hr))
    if rule.luma:
        a, b = tensors.luma(a / 255), tensors.luma(b / 255)
    cut = rule.shave_px
    a, b = (x[..., cut : x.shape[-2] - cut, cut : x.shape[-1] - cut] for x in (a, b))
    _, full = structural_similarity_index_measure(a, b, data_range=255.0, return_full_image=True)
    expected = full[..., 5:-5, 5:-5].flatten(1).mean(dim=1)
    torch.testing.assert_close(metrics.ssim(sr, hr, rule), expected, rtol=0, atol=1e-12)


def test_ssim_of_two_flat_images_is_its_luminance_term():
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert metrics.ssim(grey_levels(100), grey_levels(150), RGB).item() == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(11, 30), st.integers(11, 30))
def test_ssim_is_symmetric_bounded_and_one_of_itself(seed, height, width):
    a, b = noise(1, 3, height, width, seed=seed), noise(1, 3, height, width, seed=seed + 1)
    assert metrics.ssim(a, a, RGB).item() == pytest.approx(1)
    assert metrics.ssim(a, b, RGB).item() == pytest.approx(metrics.ssim(b, a, RGB).item())
    assert metrics.ssim(a, b, RGB).item() <= 1


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_nothing_is_scored_that_does_not_fit(metric):
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        metric(noise(1, 3, 16, 16), noise(1, 3, 16, 12), RGB)
    with pytest.raises(ValueError, match="nothing is left"):
        metric(noise(1, 3, 8, 8), noise(1, 3, 8, 8), metrics.protocol("y_shave4"))
    with pytest.raises(ValueError, match="11x11"):
        metrics.ssim(noise(1, 3, 10, 20), noise(1, 3, 10, 20), RGB)


@pytest.mark.parametrize("name", ["y_shave", "y_shave0", "rgb", "y_shave100", "Y_full", ""])
def test_an_unknown_protocol_is_refused(name):
    with pytest.raises(ValueError, match="take y_shave4"):
        metrics.protocol(name)


def test_an_original_is_consistent_with_its_lr_and_a_shifted_one_is_not():
    hr = (noise(12, 12, 3) * 255).byte().repeat_interleave(8, 0).repeat_interleave(8, 1).numpy()
    lr = tensors.from_pixels(bicubic.shrink(hr, 4))
    sr = tensors.from_pixels(hr)
    assert metrics.lr_psnr(sr, lr).item() == math.inf
    assert metrics.lr_psnr(sr.roll(2, dims=-1), lr).item() < 30
    # One level everywhere is one level when shrunk.
    flat = torch.full((1, 3, 32, 32), 100 / 255)
    assert metrics.lr_psnr(flat + 1 / 255, flat[..., ::4, ::4]).item() == pytest.approx(20 * math.log10(255))


def test_lr_consistency_needs_a_whole_scale():
    with pytest.raises(ValueError, match="whole multiple"):
        metrics.lr_psnr(noise(1, 3, 33, 32), noise(1, 3, 8, 8))


@pytest.mark.parametrize(("scale", "height", "width"), [(2, 64, 80), (4, 128, 99), (8, 131, 160)])
def test_a_grid_of_the_scales_period_stands_out(scale, height, width):
    smooth = interpolate(noise(1, 3, 12, 12), size=(height, width), mode="bicubic").clamp(0, 1) * 0.8
    cell = torch.zeros(scale, scale)
    cell[0, 0] = 20 / 255
    grid = cell.repeat(height // scale + 1, width // scale + 1)[:height, :width]
    assert metrics.checkerboard(smooth + grid, scale).item() > metrics.checkerboard(smooth, scale).item() + 8
    # A grid of another period is not what is looked for.
    other = torch.zeros(7, 7)
    other[0, 0] = 20 / 255
    far = other.repeat(height // 7 + 1, width // 7 + 1)[:height, :width]
    assert metrics.checkerboard(smooth + far, scale).item() < metrics.checkerboard(smooth + grid, scale).item() - 5


def test_random_pixelshuffle_filters_make_a_grid_and_icnr_does_not():
    torch.manual_seed(0)
    lr = interpolate(noise(1, 3, 8, 8), size=(40, 40), mode="bilinear")
    plain, initialised = Generator(blocks=1, features=8).eval(), Generator(blocks=1, features=8).eval()
    icnr_(initialised)
    with torch.inference_mode():
        scores = [metrics.checkerboard(model(lr) * 2 + 0.4, 4).item() for model in (plain, initialised)]
    assert scores[0] > 20
    assert scores[1] < 12


def test_a_picture_too_small_for_its_frequencies_has_no_checkerboard_score():
    assert math.isnan(metrics.checkerboard(noise(1, 3, 63, 200), 4).item())
    assert math.isnan(metrics.checkerboard(grey_levels(100, 64), 4).item())
