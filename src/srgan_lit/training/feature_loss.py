"""The feature loss of a training: made when it is first needed, wherever the networks are by then."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import torch

from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import PerceptualConfig
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.training import recipe

_GIVEN = "given"


class FeatureLoss:
    """Holds the feature loss out of the module's own weights.

    Args:
        source: the loss itself, or the settings to make it of, the paper's where there are none.
    """

    def __init__(self, source: PerceptualLoss | PerceptualConfig | Mapping[str, Any] | None) -> None:
        self._loss = source if isinstance(source, PerceptualLoss) else None
        self.given = self._loss is not None
        self.settings: dict[str, Any]  # plain values, for checkpoints
        if isinstance(source, PerceptualLoss):
            backbone, layers = source.features.backbone, dict(source.layers)
            self.settings = {"backbone": backbone, "layer": None, "layers": layers, "weights": _GIVEN}
        else:
            self.settings = dataclasses.asdict(recipe.settings(PerceptualConfig, source))

    def on(self, device: torch.device) -> PerceptualLoss:
        """The loss, on this device.

        Raises:
            SRGANError: its weights cannot be had.
        """
        if self._loss is None:
            if self.settings["weights"] == _GIVEN:
                raise UsageError(
                    "this checkpoint's feature loss was given as an object: load_from_checkpoint(path, perceptual=…)"
                )
            self._loss = loss_of(recipe.settings(PerceptualConfig, self.settings))
        where = next(itertools.chain(self._loss.parameters(), self._loss.buffers()), None)
        return self._loss if where is None or where.device == device else self._loss.to(device)


def loss_of(config: PerceptualConfig) -> PerceptualLoss:
    """The feature loss that ``config`` says.

    Raises:
        SRGANError: its weights cannot be had.
    """
    layers = config.weighted
    features = vgg_features(backbone=config.backbone, layer=list(layers)[-1], weights=config.weights)
    return PerceptualLoss(features, layers)
