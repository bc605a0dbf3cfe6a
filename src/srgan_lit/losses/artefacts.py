"""The loss on what looks like an artefact rather than like detail (Liang et al. 2022, LDL, section 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW_PX = 7  # a side, in which the error's variance is taken


@torch.no_grad()
def artefact_map(sr: Tensor, hr: Tensor, average: Tensor) -> Tensor:
    """How much each pixel of ``sr`` looks like an artefact: (B, 1, H, W), 0 or more, without a graph.

    The variance of the residual |hr - sr| around the pixel, times the fifth root of that in the whole crop; 0 where the
    ``average``, what the generator's moving average makes of the same input, is no nearer to ``hr`` than ``sr`` is.
    Images (B, 3, H, W) in [0, 1], at least 4 pixels a side.
    """
    residual, of_average = ((hr.float() - each.float()).abs().sum(dim=1, keepdim=True) for each in (sr, average))
    padded = F.pad(residual, (_WINDOW_PX // 2,) * 4, mode="reflect")
    mean, square = (F.avg_pool2d(each, _WINDOW_PX, stride=1) for each in (padded, padded.square()))
    count = _WINDOW_PX**2
    local = (square - mean.square()).clamp(min=0) * count / (count - 1)
    whole = residual.var(dim=(1, 2, 3), keepdim=True).pow(1 / 5)
    return whole * local * (residual >= of_average)


def artefact_loss(sr: Tensor, hr: Tensor, average: Tensor) -> Tensor:
    """Mean absolute difference of two images (B, 3, H, W), each pixel weighted by ``artefact_map``."""
    return (artefact_map(sr, hr, average) * (sr.float() - hr.float()).abs()).mean()
