"""The networks that judge textures in a training: loaded when first needed, on the device that the others are on."""

import dataclasses
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import PerceptualConfig
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.model_files import lpips_weights
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.training import recipe

_GIVEN = "given"
Network = TypeVar("Network", bound=nn.Module)


class Judge(ABC, Generic[Network]):
    """Holds a network of fixed weights out of the module's own, which are trained and saved."""

    network: Network | None = None

    @abstractmethod
    def load(self) -> Network:
        """Read or download the weights.

        Raises:
            SRGANError: they cannot be read or downloaded.
        """

    def on(self, device: torch.device) -> Network:
        """The network on this device, loaded first where it is not yet."""
        with torch.inference_mode(False):  # a validation may be the first to ask, and a training the next
            if self.network is None:
                self.network = self.load()
            where = next(itertools.chain(self.network.parameters(), self.network.buffers()), None)
            return self.network if where is None or where.device == device else self.network.to(device)


class FeatureLoss(Judge[PerceptualLoss]):
    """The feature loss.

    Args:
        source: the loss itself, or the settings to make it of, the paper's where there are none.
    """

    def __init__(self, source: PerceptualLoss | PerceptualConfig | Mapping[str, Any] | None) -> None:
        self.given = isinstance(source, PerceptualLoss)
        self.settings: dict[str, Any]  # plain values, for checkpoints
        if isinstance(source, PerceptualLoss):
            self.network = source
            backbone, layers = source.features.backbone, dict(source.layers)
            self.settings = {"backbone": backbone, "layer": None, "layers": layers, "weights": _GIVEN}
            self.settings |= {"before_activation": source.features.before_activation, "distance": source.kind}
        else:
            self.settings = dataclasses.asdict(recipe.settings(PerceptualConfig, source))

    def load(self) -> PerceptualLoss:
        """Weights of a file, of torchvision, or random ones.

        Raises:
            UsageError: it was given as an object, which a checkpoint does not hold.
            SRGANError: they cannot be read or downloaded.
        """
        if self.settings["weights"] == _GIVEN:
            raise UsageError(
                "this checkpoint's feature loss was given as an object: load_from_checkpoint(path, perceptual=…)"
            )
        config = recipe.settings(PerceptualConfig, self.settings)
        layers = config.weighted
        features = vgg_features(
            backbone=config.backbone,
            layer=list(layers)[-1],
            before_activation=config.before_activation,
            weights=config.weights,
        )
        return PerceptualLoss(features, layers, kind=config.distance)


class LPIPS(Judge[nn.Module]):
    """LPIPS, by its ``backbone``: a file, or a name."""

    def __init__(self, backbone: str) -> None:
        self.backbone = backbone

    def load(self) -> nn.Module:
        """Of a file, or torchvision's.

        Raises:
            SRGANError: they cannot be had.
        """
        return lpips_weights.lpips(self.backbone)[0].requires_grad_(False)
