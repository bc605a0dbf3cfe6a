"""The protocols of x2, x4 and x8 against their definitions written out in NumPy, and bicubic's scores in a training."""

import itertools

import lightning as L
import numpy as np
import pytest
import torch

from helpers.tiny_training import fit, make, plan
from srgan_lit.data import sets
from srgan_lit.evaluation import metrics
from srgan_lit.pictures import bicubic, rgb8, tensors
from srgan_lit.training.whole_pictures import WholePictures

HR = rgb8.read_picture(sets.SAMPLE / "test" / "chelsea.png").pixels[:96, :104]


def luma(pixels, cut):
    """BT.601, 16 to 235, not rounded; ``cut`` pixels off each side."""
    r, g, b = np.moveaxis(pixels.astype(np.float64), -1, 0)
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    return y[cut : len(y) - cut, cut : y.shape[1] - cut]


def ssim(x, y):
    """Wang et al. 2004: each window by itself, in the two-pass form of the variance."""
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for row in range(len(x) - 10):
        for column in range(x.shape[1] - 10):
            a, b = (each[row : row + 11, column : column + 11] for each in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            variance_a, variance_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            found.append(
                (2 * mean_a * mean_b + 6.5025) * (2 * covariance + 58.5225)
                / ((mean_a**2 + mean_b**2 + 6.5025) * (variance_a + variance_b + 58.5225))
            )  # fmt: skip
    return np.mean(found)


def psnr(x, y):
    return 20 * np.log10(255 / np.sqrt(np.mean((x - y) ** 2)))


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_protocol_of_each_scale_and_bicubic_in_a_validation_are_what_they_are_called(scale):
    lr = bicubic.shrink(HR, scale)
    sr = bicubic.resize(lr, *HR.shape[:2])
    x, y = luma(sr, scale), luma(HR, scale)
    rule = metrics.protocol(f"y_shave{scale}")
    images = [tensors.from_pixels(each) for each in (sr, HR, lr)]
    sr_, hr_, lr_ = (each if each.dim() == 4 else each[None] for each in images)
    assert metrics.psnr(sr_, hr_, rule).item() == pytest.approx(psnr(x, y), abs=1e-6)
    assert metrics.ssim(sr_, hr_, rule).item() == pytest.approx(ssim(x, y), abs=1e-6)
    scores = WholePictures(scale).validation_scores(torch.zeros_like(hr_), lr_, hr_, name="chelsea", grey=False)
    assert scores["psnr_bicubic"].item() == pytest.approx(psnr(x, y), abs=1e-6)
    assert scores["ssim_bicubic"].item() == pytest.approx(ssim(x, y), abs=1e-6)
    assert scores["psnr_gain"].item() == pytest.approx(scores["psnr"].item() - psnr(x, y), abs=1e-6)


def test_a_training_logs_the_ssim_of_bicubic(tmp_path):
    """Its mean over the pictures of the validation, computed here from their files' pixels."""

    class Seen(L.Callback):
        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
            batch["name"] = [str(batch_idx)]  # each by a name of its own, or bicubic's scores are kept
            seen.append(batch)

    seen = []
    trainer = fit(make(plan(pretrain=2)), tmp_path, Seen())
    expected = []
    for batch in seen:
        lr, hr = (np.rint(255 * batch[side][0].permute(1, 2, 0).numpy()).astype(np.uint8) for side in ("lr", "hr"))
        sr, scale = bicubic.resize(lr, *hr.shape[:2]), hr.shape[0] // lr.shape[0]
        if batch["grey"]:  # its own luma
            pictures = (each.mean(axis=2)[scale:-scale, scale:-scale] for each in (sr, hr))
        else:
            pictures = (luma(each, scale) for each in (sr, hr))
        expected.append(ssim(*pictures))
    assert {bool(batch["grey"]) for batch in seen} == {True, False}
    assert trainer.callback_metrics["val/ssim_bicubic"].item() == pytest.approx(np.mean(expected), abs=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_other_channels_are_refused(channels):
    image = torch.rand(1, channels, 24, 24)
    with pytest.raises(ValueError, match="must both be"):
        metrics.psnr(image, image, metrics.protocol("y_shave4"))


def grid_in_decibels(pixels: np.ndarray, scale: int) -> float:
    """``checkerboard`` of one picture (3, H, W), from its definition, bin by bin."""
    height, width = (side - side % scale for side in pixels.shape[1:])
    red, green, blue = np.floor(pixels.clip(0, 1) * 255 + 0.5)[:, :height, :width]
    y = (65.481 * red + 128.553 * green + 24.966 * blue) / 255 / 255 + 16 / 255
    hann = [0.5 - 0.5 * np.cos(2 * np.pi * np.arange(side) / side) for side in (height, width)]
    power = np.abs(np.fft.fft2((y - y.mean()) * np.outer(*hann))) ** 2
    ratios = []
    for i, j in itertools.product(range(scale), repeat=2):
        if (i, j) != (0, 0):
            at = [np.arange(-8, 9) + k * side // scale for k, side in ((i, height), (j, width))]
            around = power[np.ix_(at[0] % height, at[1] % width)]
            peak = around[7:10, 7:10]
            ratios.append(peak.mean() / ((around.sum() - peak.sum()) / (17 * 17 - 9)))
    return float(10 * np.log10(np.mean(ratios)))


@pytest.mark.parametrize("scale", [2, 4])
def test_the_checkerboard_is_its_definition_for_each_picture_of_a_batch(scale):
    rng = np.random.default_rng(scale)
    pictures = rng.random((2, 3, 97, 130)) * np.array([1.0, 0.4])[:, None, None, None]
    pictures[1, :, ::scale] += 0.2
    expected = [grid_in_decibels(one, scale) for one in pictures]
    assert metrics.checkerboard(torch.from_numpy(pictures).float(), scale).tolist() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 3, 31, 32), (1, 3, 33, 32), (1, 3, 32, 31), (2, 3, 32, 32), (1, 1, 32, 32)])
def test_pictures_of_other_shapes_are_not_compared(shape):
    sr, hr = torch.rand(shape), torch.rand(1, 3, 32, 32)
    for measure in (metrics.psnr, metrics.ssim):
        with pytest.raises(ValueError, match="must both be"):
            measure(sr, hr, metrics.protocol("y_full"))
    with pytest.raises(ValueError, match="must both be"):
        metrics.psnr(sr[0], sr[0], metrics.protocol("y_full"))
    if shape[1] == 3:
        with pytest.raises(ValueError, match="whole multiple"):
            metrics.lr_psnr(sr, hr[..., ::4, ::4])
