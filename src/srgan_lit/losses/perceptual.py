"""The feature loss (Ledig et al. 2017, section 2.2.1)."""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lit.networks.vgg import VGGFeatures


class PerceptualLoss(nn.Module):
    """Mean squared (or absolute) distance of two images' VGG features. The graph reaches ``sr`` only.

    Args:
        features: VGG up to the layer whose features are compared; up to the deepest of ``layers``.
        layers: a weight for each of several layers, by name (``3_4``): their distances are summed. None compares
            the network's own layer, with weight 1, as the paper does.
        kind: of the distance, ``mse`` (the paper's) or ``l1`` (ESRGAN's).
    """

    def __init__(
        self, features: VGGFeatures, layers: Mapping[str, float] | None = None, *, kind: Literal["mse", "l1"] = "mse"
    ) -> None:
        super().__init__()
        self.features = features
        self.kind: Literal["mse", "l1"] = kind
        self.layers = dict(layers or {f"{features.block}_{features.conv}": 1.0})

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the distance of two batches (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            targets = self.features.maps(hr, self.layers)
        return self.distance(self.features.maps(sr, self.layers), targets)

    def distance(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the layers' distances, of the maps that ``VGGFeatures.maps`` gives."""
        loss = F.mse_loss if self.kind == "mse" else F.l1_loss
        distances = {name: loss(maps[name].float(), targets[name].float()) for name in self.layers}
        return torch.stack([weight * distances[name] for name, weight in self.layers.items()]).sum()
