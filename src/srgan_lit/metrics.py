"""PSNR and SSIM on tensors, in named protocols. No accumulating, no logging.

A protocol says what is compared, so that a number can be reproduced:

``y_shaveN``  BT.601 luma, N pixels cut on each side. ``y_shave4`` is the literature's at x4 (Ledig et al. 2017).
``y_full``    BT.601 luma of the whole image (the CUFED5 papers').
``rgb_full``  the three channels of the whole image.

In each, images are first clamped and rounded to uint8, as they would be in a file; luma is not rounded.
A grey picture is its own luma: pass ``grey=True`` where the HR file is grey.
"""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from srgan_lit import images


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
    if match := re.fullmatch(r"y_shave([1-9]\d?)", name):
        return Protocol(name=name, luma=True, shave_px=int(match[1]))
    raise ValueError(f"no protocol is named {name!r}: take y_shave4, y_full or rgb_full")


def _compared(image: Tensor, rule: Protocol, grey: bool) -> Tensor:
    """What the protocol compares, float64 on the 255 scale: (B, 1 or 3, H', W')."""
    image = images.to_uint8(image).double()
    if rule.luma:
        # A grey picture has three equal channels (an SR of one may not quite): the mean is its luma.
        image = image.mean(dim=1, keepdim=True) if grey else images.luma(image / 255)
    cut = rule.shave_px
    if min(image.shape[-2:]) <= 2 * cut:
        raise ValueError(f"{rule.name} cuts {cut} px on each side: nothing is left of {tuple(image.shape[-2:])}")
    return image[..., cut : image.shape[-2] - cut, cut : image.shape[-1] - cut]


def _pair(sr: Tensor, hr: Tensor, rule: Protocol, grey: bool) -> tuple[Tensor, Tensor]:
    if sr.shape != hr.shape or sr.dim() != 4 or sr.shape[1] != 3:
        raise ValueError(f"sr and hr must both be (B, 3, H, W), not {tuple(sr.shape)} and {tuple(hr.shape)}")
    return _compared(sr, rule, grey), _compared(hr, rule, grey)


def psnr(sr: Tensor, hr: Tensor, rule: Protocol, *, grey: bool = False) -> Tensor:
    """Peak signal-to-noise ratio in dB, per image (B,) float64: 10 log10(255² / MSE). Infinite where equal.

    Raises:
        ValueError: shapes differ, or the protocol leaves no pixel.
    """
    sr, hr = _pair(sr, hr, rule, grey)
    mse = (sr - hr).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(255.0**2 / mse)


def ssim(sr: Tensor, hr: Tensor, rule: Protocol, *, grey: bool = False) -> Tensor:
    """Structural similarity, per image (B,) float64 (Wang et al. 2004).

    11x11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, data range 255, biased variance, and the mean over
    positions whose window lies wholly inside the image; over channels too in ``rgb_full``.

    Raises:
        ValueError: shapes differ, or the compared area is smaller than the window.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # seconds to import

    sr, hr = _pair(sr, hr, rule, grey)
    if min(sr.shape[-2:]) < 11:
        raise ValueError(f"SSIM needs at least 11x11 pixels, not {tuple(sr.shape[-2:])}")
    _, full = structural_similarity_index_measure(sr, hr, data_range=255.0, return_full_image=True)
    return full[..., 5:-5, 5:-5].flatten(1).mean(dim=1)
