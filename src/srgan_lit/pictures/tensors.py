"""Pixels to tensors and back, and luma: the only place where ranges change.

Inside the package an image is an RGB float tensor (B, 3, H, W) in [0, 1]. In files and in the packed cache
it is uint8 (H, W, 3).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# What networks trained on ImageNet expect: (image - mean) / deviation, per channel.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_float(image: Tensor) -> Tensor:
    """uint8 in [0, 255] to float32 in [0, 1], any shape, on its device."""
    return image.float().div_(255)


def from_pixels(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 to an image (1, 3, H, W) float32 in [0, 1]."""
    return to_float(torch.tensor(pixels).permute(2, 0, 1)[None])


def to_uint8(image: Tensor) -> Tensor:
    """An image in [0, 1], clamped and rounded to uint8 in [0, 255], same shape and device."""
    return image.float().clamp(0, 1).mul(255).round_().to(torch.uint8)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """An image (1, 3, H, W) or (3, H, W) in [0, 1], clamped and rounded, to (H, W, 3) uint8."""
    if image.dim() == 4:
        if image.shape[0] != 1:
            raise ValueError(f"to_pixels takes one image, not a batch of {image.shape[0]}")
        image = image[0]
    return np.ascontiguousarray(to_uint8(image.detach()).permute(1, 2, 0).cpu().numpy())


# ITU-R BT.601 as in MATLAB's rgb2ycbcr: luma in [16, 235] for RGB in [0, 1].
_LUMA = (65.481, 128.553, 24.966)


# Devices that have no float64: what needs its digits is computed on the processor.
_WITHOUT_FLOAT64 = {"mps"}


def to_double(image: Tensor) -> Tensor:
    """``image`` in float64, on its device or, if that has none, on the processor."""
    return (image.cpu() if image.device.type in _WITHOUT_FLOAT64 else image).double()


def luma(image: Tensor) -> Tensor:
    """BT.601 luma (B, 1, H, W) in [16, 235], not rounded, float64, of an RGB image (B, 3, H, W) in [0, 1]."""
    image = to_double(image)
    weights = torch.tensor(_LUMA, dtype=torch.float64, device=image.device).view(1, 3, 1, 1)
    return (image * weights).sum(dim=1, keepdim=True) + 16
