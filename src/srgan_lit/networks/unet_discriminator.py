"""The discriminator of Real-ESRGAN (Wang et al. 2021, section 3.3): a U-Net that judges every pixel. No sigmoid."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from srgan_lit.common.errors import UsageError

MULTIPLE = 8  # a crop is halved three times, and comes back to its size


def _bounded(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=1, bias=False))


class UNetDiscriminator(nn.Module):
    """Three halvings and three bilinear enlargements with skip connections, and three convolutions behind.

    The weight of every layer but the first and the last is divided by its largest singular value (Miyato et al. 2018).

    Args:
        features: channels at the full resolution; 2, 4 and 8 times as many below.
    """

    def __init__(self, *, features: int = 64) -> None:
        super().__init__()
        self.features = features
        self.first = nn.Conv2d(3, features, 3, padding=1)
        self.down = nn.ModuleList(_bounded(features * 2**n, features * 2 ** (n + 1), 4, 2) for n in range(3))
        self.up = nn.ModuleList(_bounded(features * 2 ** (n + 1), features * 2**n) for n in (2, 1, 0))
        self.judge = nn.ModuleList(_bounded(features, features) for _ in range(2))
        self.last = nn.Conv2d(features, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, 1, H, W), positive for "looks real", of ``image`` (B, 3, H, W) in [0, 1].

        Raises:
            UsageError: H or W is no multiple of 8.
        """
        if image.shape[-2] % MULTIPLE or image.shape[-1] % MULTIPLE:
            raise UsageError(
                f"discriminator=unet judges crops whose side is a multiple of {MULTIPLE} pixels, and these are "
                f"{image.shape[-1]}x{image.shape[-2]}"
            )
        skips, x = [], F.leaky_relu(self.first(image), 0.2)
        for layer in self.down:
            skips.append(x)
            x = F.leaky_relu(layer(x), 0.2)  # (B, 2C, H/2, W/2), (B, 4C, H/4, W/4), (B, 8C, H/8, W/8)
        for layer in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = F.leaky_relu(layer(x), 0.2) + skips.pop()
        for layer in self.judge:
            x = F.leaky_relu(layer(x), 0.2)
        return self.last(x)
