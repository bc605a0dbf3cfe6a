"""The feature loss (Ledig et al. 2017, section 2.2.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lit.networks.vgg import VGGFeatures


class PerceptualLoss(nn.Module):
    """Mean squared distance of two images' VGG features. The graph reaches ``sr`` only."""

    def __init__(self, features: VGGFeatures) -> None:
        super().__init__()
        self.features = features

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the distance of two batches (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            wanted = self.features(hr)
        return F.mse_loss(self.features(sr).float(), wanted.float())
