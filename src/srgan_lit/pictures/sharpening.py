"""Unsharp masking of training targets."""

import torch
import torch.nn.functional as F
from torch import Tensor

_RADIUS_PX, _SIGMA_PX = 25, 8.0
_THRESHOLD = 10 / 255  # of the difference from the blurred image: what is below is noise, and stays


def sharpened(image: Tensor, amount: float) -> Tensor:
    """Unsharp masking of images (B, 3, H, W) in [0, 1], clamped, as Real-ESRGAN sharpens its targets.

    ``image + amount * (image - blurred)`` where an edge is near, the image itself elsewhere, and a soft passage between
    (Wang et al. 2021, section 3.4, with its code's radius 50, amount 0.5 and threshold 10). Borders are replicated.
    """
    difference = image - _blurred(image)
    edges = _blurred((difference.abs() > _THRESHOLD).to(image))
    return torch.lerp(image, (image + amount * difference).clamp(0, 1), edges)


def _blurred(image: Tensor) -> Tensor:
    at = torch.arange(-_RADIUS_PX, _RADIUS_PX + 1, dtype=image.dtype, device=image.device)
    line = torch.exp(-0.5 * (at / _SIGMA_PX) ** 2)
    line = (line / line.sum()).expand(3, 1, -1)
    padded = F.pad(image, (_RADIUS_PX,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, line[..., None, :], groups=3), line[..., None], groups=3)
