"""Pixel losses. They take whole batches and return a scalar in float32, whatever the precision of the input."""

import torch
import torch.nn.functional as F
from torch import Tensor

from srgan_lit.pictures import bicubic_tensors


def pixel_loss(sr: Tensor, hr: Tensor, kind: str) -> Tensor:
    """Mean over pixels of the difference of two images in [0, 1].

    ``mse`` (the paper's), ``l1``, or ``charbonnier`` sqrt(d² + 1e-6) (Lai et al. 2017).

    Raises:
        ValueError: another ``kind``.
    """
    sr, hr = sr.float(), hr.float()
    if kind == "mse":
        return F.mse_loss(sr, hr)
    if kind == "l1":
        return F.l1_loss(sr, hr)
    if kind == "charbonnier":
        return ((sr - hr).square() + 1e-6).sqrt().mean()
    raise ValueError(f"pixel loss must be mse, l1 or charbonnier, not {kind!r}")


def lr_loss(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """Mean squared difference of ``sr`` and ``hr``, both shrunk bicubically to the size of LR.

    What LR says is held so, colours and flat parts above all; the detail that LR does not have is left free. As a
    score it is LR-PSNR (Lugmayr et al. 2021, section 3). Images (B, 3, H, W) in [0, 1]; H and W are multiples of
    ``scale``, which is even.
    """
    error = sr.float() - hr.float()  # shrinking is linear
    with torch.autocast(error.device.type, enabled=False):
        return bicubic_tensors.shrink(error, scale).square().mean()


_WIDE = 8  # LR pixels a side over which colours are averaged: what is left of detail there is nothing


def colour_loss(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """Mean absolute difference of the local means of two images over windows of 8x8 LR pixels.

    Against drifting colours: absolute, so that a drift of one level is pushed back as hard as one of ten, and of means,
    so that it adds no blur. Images (B, 3, H, W) in [0, 1], at least eight LR pixels a side.
    """
    error = sr.float() - hr.float()
    return F.avg_pool2d(error, _WIDE * scale, stride=_WIDE * scale // 2).abs().mean()


_WINDOW = 6  # LR pixels a side over which an error is averaged: texture averages out, a grid stays


def grid_loss(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """How much the error of ``sr`` repeats with the PixelShuffle's period: the variance of its local means by phase.

    The error sr - hr is parted into its scale² phases (pixels of the same place in their LR pixel), each averaged
    over windows of 6x6 LR pixels; where no grid is, the phases agree. Images (B, 3, H, W) in [0, 1], at least six LR
    pixels a side. A measure of this package's own, against what Odena et al. 2016 call checkerboard artifacts.
    """
    error = F.pixel_unshuffle(sr.float() - hr.float(), scale)  # (B, 3 * scale², h, w)
    means = F.avg_pool2d(error, _WINDOW, stride=_WINDOW // 2).unflatten(1, (-1, scale**2))
    return means.var(dim=2, correction=0).mean()
