"""Scores of pictures, on tensors: PSNR and SSIM in named protocols, and two measures that need no weights.
No accumulating, no logging.

A protocol says what is compared, so that a number can be reproduced:

``y_shaveN``  BT.601 luma, N pixels cut on each side. ``y_shave4`` is the literature's at x4 (Ledig et al. 2017).
``y_full``    BT.601 luma of the whole image (the CUFED5 papers').
``rgb_full``  the three channels of the whole image.

In each, images are first clamped and rounded to uint8, as they would be in a file; luma is not rounded.
A grey picture is its own luma: pass ``grey=True`` where the HR file is grey.
"""

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from srgan_lit.pictures import bicubic, tensors


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a score compares: ``name`` as in tables, luma or RGB, and ``shave_px`` cut on each side."""

    name: str
    luma: bool
    shave_px: int


def protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: no protocol has this name.
    """
    if name == "rgb_full":
        return Protocol(name=name, luma=False, shave_px=0)
    if name == "y_full":
        return Protocol(name=name, luma=True, shave_px=0)
    if match := re.fullmatch(r"y_shave([1-9][0-9]?)", name):
        return Protocol(name=name, luma=True, shave_px=int(match[1]))
    raise ValueError(f"no protocol is named {name!r}: take y_shave4, y_full or rgb_full")


def _compared(image: Tensor, rule: Protocol, grey: bool) -> Tensor:
    """What the protocol compares, float64 on the 255 scale: (B, 1 or 3, H', W')."""
    image = tensors.to_double(tensors.to_uint8(image))
    if rule.luma:
        # A grey picture has three equal channels (an SR of one may not quite): the mean is its luma.
        image = image.mean(dim=1, keepdim=True) if grey else tensors.luma(image / 255)
    cut = rule.shave_px
    if min(image.shape[-2:]) <= 2 * cut:
        raise ValueError(f"{rule.name} cuts {cut} px on each side: nothing is left of {tuple(image.shape[-2:])}")
    return image[..., cut : image.shape[-2] - cut, cut : image.shape[-1] - cut]


def _pair(sr: Tensor, hr: Tensor, rule: Protocol, grey: bool) -> tuple[Tensor, Tensor]:
    if sr.shape != hr.shape or sr.dim() != 4 or sr.shape[1] != 3:
        raise ValueError(f"sr and hr must both be (B, 3, H, W), not {tuple(sr.shape)} and {tuple(hr.shape)}")
    return _compared(sr, rule, grey), _compared(hr, rule, grey)


def _decibels(a: Tensor, b: Tensor) -> Tensor:
    mse = (a - b).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(255.0**2 / mse)


def psnr(sr: Tensor, hr: Tensor, rule: Protocol, *, grey: bool = False) -> Tensor:
    """Peak signal-to-noise ratio in dB, per image (B,) float64: 10 log10(255² / MSE). Infinite where equal.

    Raises:
        ValueError: shapes differ, or the protocol leaves no pixel.
    """
    return _decibels(*_pair(sr, hr, rule, grey))


_WINDOW, _SIGMA = 11, 1.5


def _local_mean(x: Tensor) -> Tensor:
    """Gaussian mean of (B, C, H, W) over every window that lies wholly inside: (B, C, H - 10, W - 10).

    The window is separable, so eleven shifted sums along each axis do. torch's convolution in float64, which
    torchmetrics uses, gives the same but takes 5 GB and 13 s for one megapixel.
    """
    taps = [math.exp(-((i - _WINDOW // 2) ** 2) / (2 * _SIGMA**2)) for i in range(_WINDOW)]
    for axis in (-2, -1):
        left = x.shape[axis] - _WINDOW + 1
        total = torch.zeros_like(x.narrow(axis, 0, left))
        for i, tap in enumerate(taps):
            total.add_(x.narrow(axis, i, left), alpha=tap / sum(taps))
        x = total
    return x


def ssim(sr: Tensor, hr: Tensor, rule: Protocol, *, grey: bool = False) -> Tensor:
    """Structural similarity, per image (B,) float64 (Wang et al. 2004, equation 13).

    11x11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, data range 255, biased variance, and the mean over
    positions whose window lies wholly inside the image; over channels too in ``rgb_full``.

    Raises:
        ValueError: shapes differ, or the compared area is smaller than the window.
    """
    x, y = _pair(sr, hr, rule, grey)
    if min(x.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs at least {_WINDOW}x{_WINDOW} pixels, not {tuple(x.shape[-2:])}")
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    # Both variances are only ever needed as their sum.
    variances = _local_mean(x.square().add_(y.square())) - mean_x.square() - mean_y.square()
    covariance = _local_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return (luminance * structure).flatten(1).mean(dim=1)


def lr_psnr(sr: Tensor, lr: Tensor) -> Tensor:
    """LR consistency in dB, per image (B,) float64: RGB PSNR of ``sr``, shrunk bicubically again, and ``lr``.

    It needs no HR image: a model may invent detail, but shrunk it should give what it was given. The NTIRE 2021
    challenge on the super-resolution space asked for 45 dB (Lugmayr et al. 2021, section 3). ``sr`` (B, 3, H, W)
    and ``lr`` (B, 3, h, w) are in [0, 1]; ``sr`` is rounded to uint8 first. Infinite where equal.

    Raises:
        ValueError: ``sr`` is not a whole multiple of ``lr``.
    """
    scale = max(1, sr.shape[-1] // lr.shape[-1])
    if sr.shape != (lr.shape[0], 3, lr.shape[-2] * scale, lr.shape[-1] * scale):
        raise ValueError(f"sr must be a whole multiple of lr, not {tuple(sr.shape)} and {tuple(lr.shape)}")
    again = torch.stack([torch.from_numpy(bicubic.shrink(tensors.to_pixels(one), scale)) for one in sr])
    return _decibels(again.permute(0, 3, 1, 2).double(), tensors.to_uint8(lr).cpu().double())


def checkerboard(sr: Tensor, scale: int) -> Tensor:
    """How far a grid of the PixelShuffle's period stands out of the spectrum, in dB, per image (B,) float64.

    A sub-pixel convolution whose filters disagree repeats a pattern every ``scale`` pixels (Odena et al. 2016;
    Aitken et al. 2017): its energy sits at the frequencies k / scale. With P the power spectrum of the luma
    under a Hann window, the measure is 10 log10 of the mean, over the frequencies (i, j) / scale other than
    (0, 0), of P in the 3x3 bins there (a Hann window's peak) over P in the surrounding 17x17 without them.
    Photographs lie within a few dB of 0, a generator with random PixelShuffle filters at 23 and more; one
    picture whose texture has that very period scores too, so read the mean of a set, beside the original's.
    No reference and no weights; the definition is this package's own. NaN where a side is below
    ``16 * scale``, so that the frequencies cannot be told apart, and on a picture of one colour.

    ``sr`` is (B, 3, H, W) in [0, 1], rounded to uint8 first.
    """
    height, width = (side - side % scale for side in sr.shape[-2:])  # so that k / scale is a bin
    if min(height, width) < 16 * scale:
        return torch.full((sr.shape[0],), math.nan, dtype=torch.float64)
    y = tensors.luma(tensors.to_double(tensors.to_uint8(sr[..., :height, :width])) / 255)[:, 0]
    window = torch.outer(*(torch.hann_window(n, dtype=torch.float64, device=y.device) for n in (height, width)))
    y = (y - y.mean(dim=(1, 2), keepdim=True)) * window
    power = torch.fft.fft2(y).abs().square()  # (B, H, W), DC at [0, 0]
    ratios = []
    for i in range(scale):
        for j in range(scale):
            if i == j == 0:
                continue
            # Rolled to the corner, a bin's neighbourhood needs no care at the spectrum's edge.
            centred = power.roll((8 - i * height // scale, 8 - j * width // scale), dims=(1, 2))[:, :17, :17]
            peak = centred[:, 7:10, 7:10].sum(dim=(1, 2))
            around = centred.sum(dim=(1, 2)) - peak
            ratios.append((peak / 9) / (around / (17 * 17 - 9)))
    flat = y.abs().amax(dim=(1, 2)) < 1e-6  # rounding errors have a spectrum too
    return (10 * torch.log10(torch.stack(ratios).mean(dim=0))).masked_fill(flat, math.nan)
