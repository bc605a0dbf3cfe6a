"""Mixed precision in float16 with a gradient scaler for each optimizer."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

OPTIMIZERS = ("pretrain", "generator", "discriminator")


class ScalerPerOptimizer(MixedPrecision):
    """Lightning's ``16-mixed``, where one network's overflow leaves the other's scale alone.

    With the one scaler that Lightning shares, a discriminator that overflows halves the generator's scale, and
    every iteration counts twice towards its growth.

    Args:
        device: type of the device, ``cuda``.
        names: of the optimizers, as ``use`` will be told them.
    """

    def __init__(self, device: str, names: tuple[str, ...]) -> None:
        self.scalers = {name: torch.amp.GradScaler(device) for name in names}
        super().__init__("16-mixed", device, scaler=self.scalers[names[0]])

    def use(self, name: str) -> None:
        """Scale by the scaler of the optimizer ``name`` from now on."""
        self.scaler = self.scalers[name]

    def below_one(self) -> Tensor | bool:
        """Whether a scale has fallen below 1, said on the device: then the gradients are too large, not their scale."""
        scales = [scaler._get_scale_async() for scaler in self.scalers.values()]  # None where nothing was scaled yet
        begun = [scale for scale in scales if scale is not None]
        return torch.stack(begun).min() < 1 if begun else False

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Unscale first: Lightning leaves that to fused optimizers, and clipping would see scaled gradients."""
        assert self.scaler is not None
        self.scaler.unscale_(optimizer)
        return super().optimizer_step(optimizer, model=model, closure=closure, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Of every scaler."""
        return {name: scaler.state_dict() for name, scaler in self.scalers.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of every scaler."""
        for name, state in state_dict.items():
            self.scalers[name].load_state_dict(state)


def separate(trainer: L.Trainer) -> None:
    """Where a Trainer was given ``precision="16-mixed"``, put scalers of their own in the place of its one.

    With Lightning's, gradients would be clipped and measured while they are still scaled.
    """
    plugin = trainer.strategy.precision_plugin
    if type(plugin) is MixedPrecision and plugin.scaler is not None:
        trainer.strategy.precision_plugin = ScalerPerOptimizer(plugin.device, OPTIMIZERS)
