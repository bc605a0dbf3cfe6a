"""Bicubic on tensors: as a model, in a loss, and to make a result shrink to the picture that it came from.

The same kernel as ``bicubic.py`` (Keys' cubic, a = -0.5, replicated border) for scales 2, 4 and 8, as convolutions, on
any device.
"""

import contextlib
import functools
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from srgan_lit.pictures import bicubic

_STEPS, _ROUNDED_STEPS = 4, 3
_SHARPEN = 2  # input pixels on each side
MATCH_REACH = (_STEPS + _ROUNDED_STEPS) * (2 + 2 + _SHARPEN)  # of match_input: a shrink and an enlargement reach 2


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """Without TF32, in which GPUs convolve by default: it has no room for the weights of x8."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


# Kept on the device that asks: copied to a GPU each time, they would hold up the host.
@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # a validation may be the first to ask, and a loss the next
def _kernel(scale: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The 4 * scale weights with which ``scale`` shrinks, summing to 1; times ``scale`` they enlarge."""
    _, weights = bicubic.taps(16 * scale, 16)
    return torch.tensor(weights[8], dtype=torch.float32).to(device, dtype)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def _inverse(scale: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The short filter that undoes, nearly, what enlarging and then shrinking does to an image."""
    points, middle = 33, 16
    impulse = torch.zeros(1, 1, points, 1)
    impulse[0, 0, middle] = 1
    response = _along_rows(_along_rows(impulse, scale, enlarge=True), scale, enlarge=False).flatten()
    spectrum = torch.fft.fft(torch.roll(response, -middle)).real
    inverse = torch.roll(torch.fft.ifft(1 / spectrum).real, middle)[middle - _SHARPEN : middle + _SHARPEN + 1]
    return (inverse / inverse.sum()).to(device, dtype)


@_exact_products()
def _along_rows(image: Tensor, scale: int, *, enlarge: bool) -> Tensor:
    """Resize the second last axis of (B, C, h, w)."""
    kernel = _kernel(scale, image.device, image.dtype).view(1, 1, -1, 1)
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


def _rounded_along_rows(image: Tensor, scale: int, *, levels: int, enlarge: bool) -> Tensor:
    """``_along_rows`` of whole numbers up to ``levels``, rounded to such.

    What is summed lies in -128 … 128: float32 then holds every sum exactly, in whichever order a device adds, and the
    weights, which sum to 1, leave the middle where it is. Of 16 bits the high and low bytes are summed apart.
    """
    if levels <= 255:
        return (_along_rows(image - 128, scale, enlarge=enlarge) + 128.5).floor_().clamp_(0, levels)
    high = ((image + 128) / 256).floor_()
    low = _along_rows(image - 256 * high, scale, enlarge=enlarge)
    high = 256 * _along_rows(high - 128, scale, enlarge=enlarge)
    whole = high.floor()
    return (high - whole + low + 0.5).floor_().add_(whole).add_(128 * 256).clamp_(0, levels)


def _resize(image: Tensor, scale: int, levels: int | None, *, enlarge: bool) -> Tensor:
    if levels is not None:
        image = image * levels
        image = image.round_()
    along_rows = _along_rows if levels is None else functools.partial(_rounded_along_rows, levels=levels)
    for axis in (-2, -1):
        image = along_rows(image.transpose(-2, axis), scale, enlarge=enlarge).transpose(-2, axis)
    return image if levels is None else image / levels


def enlarge(image: Tensor, scale: int, *, levels: int | None = None) -> Tensor:
    """Return (B, C, h, w) at ``scale`` times the size; with ``levels``, bicubic's definition to the last bit.

    Args:
        image: any range; in [0, 1] where ``levels`` is given.
        scale: 2, 4 or 8.
        levels: 255 or 65535: round after each axis to multiples of 1/levels, as a picture of that depth is.
    """
    return _resize(image, scale, levels, enlarge=True)


def shrink(image: Tensor, scale: int, *, levels: int | None = None) -> Tensor:
    """Return (B, C, scale*h, scale*w) at 1/scale of the size; arguments as in ``enlarge``."""
    return _resize(image, scale, levels, enlarge=False)


@_exact_products()
def match_input(sr: Tensor, lr: Tensor, scale: int, *, levels: int | None) -> Tensor:
    """Return ``sr`` (B, C, scale*h, scale*w) changed so that it shrinks to ``lr`` (B, C, h, w), both in [0, 1].

    Iterated back-projection (Irani and Peleg 1991): what the shrunk result lacks is enlarged and added. With
    ``levels`` the last steps see the result as it will be rounded in a file, and the rounding of the shrinking.
    """
    inverse = _inverse(scale, lr.device, lr.dtype)
    for step in range(_STEPS + _ROUNDED_STEPS):
        if levels is not None and step >= _STEPS:
            sr = (sr * levels).round_() / levels
            lacking = lr - shrink(sr, scale, levels=levels)
        else:
            lacking = lr - shrink(sr, scale)
        batch, channels, height, width = lacking.shape
        lacking = lacking.reshape(batch * channels, 1, height, width)
        lacking = F.conv2d(F.pad(lacking, (0, 0, _SHARPEN, _SHARPEN), mode="replicate"), inverse.view(1, 1, -1, 1))
        lacking = F.conv2d(F.pad(lacking, (_SHARPEN, _SHARPEN, 0, 0), mode="replicate"), inverse.view(1, 1, 1, -1))
        sr = (sr + enlarge(lacking.reshape(batch, channels, height, width), scale)).clamp_(0, 1)
    return sr


class Bicubic:
    """Bicubic as a model: the baseline that every table names ``bicubic``, and what ``Enlarger`` takes for a network.

    Called with ``lr`` (h, w, 3) uint8 it returns ``sr`` (scale*h, scale*w, 3) uint8.
    """

    receptive_radius = 2.0  # LR pixels

    def __init__(self, scale: int = 4) -> None:
        """Raises ValueError for another ``scale`` than 2, 4 or 8."""
        if scale not in (2, 4, 8):
            raise ValueError(f"scale must be 2, 4 or 8, not {scale}")
        self.scale = scale

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``lr`` enlarged by ``pictures.bicubic``, the definition behind the published numbers."""
        return bicubic.enlarge(lr, self.scale)
