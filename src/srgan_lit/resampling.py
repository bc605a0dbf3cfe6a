"""Bicubic on tensors: as a model of its own, and to make a result shrink to the picture that it came from.

The same kernel as ``bicubic.py`` (Keys' cubic, a = -0.5, replicated border) for whole scales, as convolutions:
differentiable, on any device, at any depth.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lit.bicubic import _taps

SHRINK_REACH = 2  # input pixels beyond an edge that one shrink, or one enlargement, can depend on


@functools.lru_cache(maxsize=8)
def _kernel(scale: int) -> Tensor:
    """The 4 * scale weights with which ``scale`` shrinks, summing to 1; times ``scale`` they enlarge."""
    _, weights = _taps(16 * scale, 16)
    return torch.tensor(weights[8], dtype=torch.float32)


def _rounded(image: Tensor, levels: int | None) -> Tensor:
    return image if levels is None else (image * levels + 0.5).floor_().clamp_(0, levels).div_(levels)


def _along_rows(image: Tensor, scale: int, *, enlarge: bool) -> Tensor:
    """Resize the second last axis of (B, C, h, w)."""
    kernel = _kernel(scale).to(image).view(1, 1, -1, 1)
    batch, channels, height, width = image.shape
    image = image.reshape(batch * channels, 1, height, width)
    if enlarge:
        padded = F.pad(image, (0, 0, 2, 2), mode="replicate")
        start = 2 * scale + scale * 3 // 2
        image = F.conv_transpose2d(padded, kernel * scale, stride=(scale, 1))[:, :, start : start + height * scale]
    else:
        padded = F.pad(image, (0, 0, scale * 3 // 2, scale * 3 // 2), mode="replicate")
        image = F.conv2d(padded, kernel, stride=(scale, 1))
    return image.reshape(batch, channels, *image.shape[-2:])


def _resize(image: Tensor, scale: int, levels: int | None, *, enlarge: bool) -> Tensor:
    if levels is not None:
        image = image * levels  # whole numbers: the sums below are then exact, and so is their rounding
        image = image.round_()
    for axis in (-2, -1):
        image = _along_rows(image.transpose(-2, axis), scale, enlarge=enlarge).transpose(-2, axis)
        if levels is not None:
            image = (image + 0.5).floor_().clamp_(0, levels)
    return image if levels is None else image / levels


def enlarge(image: Tensor, scale: int, *, levels: int | None = None) -> Tensor:
    """Return (B, C, h, w) at ``scale`` times the size; with ``levels`` 255, ``bicubic.enlarge`` to the last bit.

    Args:
        image: any range; in [0, 1] where ``levels`` is given.
        scale: even.
        levels: round after each axis to multiples of 1/levels, as a picture of that depth would be.
    """
    return _resize(image, scale, levels, enlarge=True)


def shrink(image: Tensor, scale: int, *, levels: int | None = None) -> Tensor:
    """Return (B, C, scale*h, scale*w) at 1/scale of the size; arguments as in ``enlarge``."""
    return _resize(image, scale, levels, enlarge=False)


class Bicubic(nn.Module):
    """Bicubic as a model: (B, 3, h, w) to (B, 3, scale*h, scale*w), in [0, 1], rounded to 8 bits like a file."""

    receptive_radius = 2.0

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        """Return ``sr``; rows are done and rounded first, as ``bicubic.enlarge`` does."""
        return enlarge(lr, self.scale)
