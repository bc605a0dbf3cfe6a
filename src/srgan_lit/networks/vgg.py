"""VGG16 and VGG19 up to one layer (Simonyan and Zisserman 2015): the networks whose features the loss compares."""

import contextlib
from collections.abc import Collection

import torch
from torch import Tensor, nn

from srgan_lit.config.schema import VGG_CONVOLUTIONS, parse_layer
from srgan_lit.networks.winograd import Conv3x3
from srgan_lit.pictures.tensors import IMAGENET_MEAN, IMAGENET_STD

# Channels of the five blocks.
WIDTHS = (64, 128, 256, 512, 512)

# 1/12.75 on the features is 0.006 on the squared distance: VGG brought to the scale of MSE (section 3.2).
FEATURE_SCALE = 1 / 12.75


class VGGFeatures(nn.Module):
    """The feature map after one convolution of VGG and its ReLU, divided by 12.75. VGG54 is ``5_4`` of vgg19.

    Args:
        backbone: ``vgg19`` or ``vgg16``.
        layer: ``<block>_<convolution>``, counted from 1; None for the last.
        before_activation: the maps are those of the convolutions, before their ReLUs (Wang et al. 2018, ESRGAN, section
            3.3), where few features are 0.

    Its weights are random, the same each time, until ``model_files.vgg_weights`` gives it trained ones; they never
    train here. Raises UsageError for an unknown backbone or layer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, backbone: str = "vgg19", layer: str | None = "5_4", before_activation: bool = False) -> None:
        super().__init__()
        self.before_activation = before_activation
        self.block, self.conv = parse_layer(backbone, layer)
        self.backbone = backbone
        layers: list[nn.Module] = []
        before = 3
        for block in range(1, self.block + 1):
            last = self.conv if block == self.block else VGG_CONVOLUTIONS[backbone][block - 1]
            if block > 1:
                layers.append(nn.MaxPool2d(2))
            for _ in range(last):
                layers += [Conv3x3(before, WIDTHS[block - 1]), nn.ReLU(inplace=True)]
                before = WIDTHS[block - 1]
        self.features = nn.Sequential(*layers)  # numbered as in torchvision: 36 layers up to relu5_4 of vgg19
        self._randomise()
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def name(self) -> str:
        """As the field writes it: VGG54, VGG22."""
        return f"VGG{self.block}{self.conv}"

    def _randomise(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scaled features (B, C, h, w) of ``image`` (B, 3, H, W) in [0, 1]."""
        own = f"{self.block}_{self.conv}"
        return self.maps(image, [own])[own]

    def maps(self, image: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the scaled features of several layers, by name, in one pass over ``image`` (B, 3, H, W) in [0, 1].

        Raises:
            KeyError: a layer that lies behind this network's own, or that its backbone does not have.
        """
        with _without_float16(image.device):
            x = (image - self.mean) / self.std
            maps: dict[str, Tensor] = {}
            block, conv = 1, 0
            for layer in self.features:
                x = layer(x)
                if isinstance(layer, nn.MaxPool2d):
                    block, conv = block + 1, 0
                    continue
                conv += isinstance(layer, nn.Conv2d)
                if isinstance(layer, nn.Conv2d if self.before_activation else nn.ReLU) and f"{block}_{conv}" in layers:
                    maps[f"{block}_{conv}"] = x * FEATURE_SCALE  # a copy: ReLUs work in place
        return {layer: maps[layer] for layer in layers}


def _without_float16(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Where autocast says float16, which VGG's features can exceed: bfloat16 if the device has it, else float32."""
    kind = device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return contextlib.nullcontext()
    if torch.get_autocast_dtype(kind) != torch.float16:
        return contextlib.nullcontext()
    has_bfloat16 = kind != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=has_bfloat16)
