"""The terms of the generator's loss in the adversarial phase: a row of ``TERMS`` each.

A term's name is its key in ``phase.weights`` (``conf/phase/adversarial.yaml`` has one for each, with its weight) and,
behind ``train/``, its column in ``metrics.csv``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srgan_lit.common.errors import SRGANError
from srgan_lit.losses import adversarial, artefacts, pixel
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.networks.discriminator import frozen


@dataclass(frozen=True, kw_only=True)
class Update:
    """What the terms of one update may look at: crops (B, 3, H, W) in [0, 1], and the networks that judge them."""

    sr: Tensor
    hr: Tensor
    scale: int
    discriminator: nn.Module
    adversarial: str
    perceptual: PerceptualLoss | None
    average: Tensor | None = None  # what the generator's moving average makes of the same ``lr``


def _perceptual(update: Update) -> Tensor:
    assert update.perceptual is not None
    return update.perceptual(update.sr, update.hr)


def _artefacts(update: Update) -> Tensor:
    assert update.average is not None
    return artefacts.artefact_loss(update.sr, update.hr, update.average)


def _adversarial(update: Update) -> Tensor:
    """The adversarial loss; the discriminator gathers no gradients from it."""
    with frozen(update.discriminator):
        real = update.discriminator(update.hr) if adversarial.game(update.adversarial).compares else None
        return adversarial.generator_loss(update.discriminator(update.sr), kind=update.adversarial, real=real)


# In this order they are computed and summed.
TERMS: dict[str, Callable[[Update], Tensor]] = {
    "mse": lambda update: pixel.pixel_loss(update.sr, update.hr, "mse"),
    "l1": lambda update: pixel.pixel_loss(update.sr, update.hr, "l1"),
    "lr_mse": lambda update: pixel.lr_loss(update.sr, update.hr, update.scale),
    "grid": lambda update: pixel.grid_loss(update.sr, update.hr, update.scale),
    "colour": lambda update: pixel.colour_loss(update.sr, update.hr, update.scale),
    "artefacts": _artefacts,
    "perceptual": _perceptual,
    "adversarial": _adversarial,
}


Own = Callable[[Tensor, Tensor], Tensor]  # a user's own term: called with ``sr`` and ``hr``


def weighted(
    update: Update, weights: Mapping[str, float], own: Mapping[str, Own] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms whose weight is above 0, and those terms by name, unweighted.

    Raises:
        SRGANError: a term of the user's ``own`` is no scalar.
    """
    parts = {name: term(update) for name, term in TERMS.items() if weights.get(name)}
    for name, term in (own or {}).items():
        if weights.get(name):
            parts[name] = term(update.sr, update.hr)
            if not isinstance(parts[name], Tensor) or parts[name].dim():
                raise SRGANError(f"phase.terms.{name} must give one number, a tensor of no dimensions")
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), parts
