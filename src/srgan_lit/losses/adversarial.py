"""The adversarial losses of both networks (Ledig et al. 2017, section 2.2.2, and variants).

One row of ``KINDS`` is a whole game: both losses, and the bounds by which the alarms judge it. Every function takes
logits of whole batches, (B, 1) or more for each crop, as (B, 1, H, W), of which it takes the mean, and returns a scalar
in float32, whatever the precision of its input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from srgan_lit.common.errors import UsageError
from srgan_lit.config.nearest_name import nearest


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A game. ``target`` is what real crops count as for the discriminator: 1, or less with label smoothing.

    Args:
        discriminator: of the logits on real and on generated crops and the target, what the discriminator minimises.
        generator: of the logits on generated and on real crops, what the generator minimises.
        bounds: of the target, the minimum of the discriminator's loss if it is always right, and if it says the same
            of every crop.
        compares: whether the generator's loss looks at real crops too, which costs a forward pass.
        has_target: whether labels can be smoothed.
    """

    discriminator: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    bounds: Callable[[float], tuple[float, float]]
    compares: bool = False
    has_target: bool = True


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def _entropy(p: float) -> float:
    """The least binary cross-entropy with a target ``p``."""
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


KINDS = {
    # Binary cross-entropy, -log D(hr) - log(1 - D(sr)), as the paper; -log D(sr) for the generator, which keeps its
    # gradient where the discriminator is sure.
    "standard": Kind(
        discriminator=lambda real, generated, target: _cross_entropy(real, target) + _cross_entropy(generated, 0),
        generator=lambda generated, real: _cross_entropy(generated, 1),
        bounds=lambda target: (_entropy(target), 2 * _entropy(target / 2)),
    ),
    # The average one of Jolicoeur-Martineau 2018, as in ESRGAN. It sees the difference of logits alone.
    "relativistic": Kind(
        discriminator=lambda real, generated, target: (
            _cross_entropy(real - generated.mean(), target) + _cross_entropy(generated - real.mean(), 0)
        ),
        generator=lambda generated, real: (
            _cross_entropy(real - generated.mean(), 0) + _cross_entropy(generated - real.mean(), 1)
        ),
        bounds=lambda target: (2 * _entropy((1 + target) / 2), 2 * _entropy(0.5)),
        compares=True,
    ),
    # Mao et al. 2017.
    "least_squares": Kind(
        discriminator=lambda real, generated, target: ((real - target).square().mean() + generated.square().mean()) / 2,
        generator=lambda generated, real: (generated - 1).square().mean() / 2,
        bounds=lambda target: (0.0, target**2 / 4),
    ),
    # Lim and Ye 2017.
    "hinge": Kind(
        discriminator=lambda real, generated, target: F.relu(1 - real).mean() + F.relu(1 + generated).mean(),
        generator=lambda generated, real: -generated.mean(),
        bounds=lambda target: (0.0, 2.0),
        has_target=False,
    ),
}


def game(kind: str, *, smoothing: float = 0.0) -> Kind:
    """The row of ``KINDS``; ``smoothing`` is what the target of real crops is lowered by from 1.

    One-sided: Salimans et al. 2016.

    Raises:
        UsageError: another ``kind``, or smoothing where there is no target.
    """
    if kind not in KINDS:
        raise UsageError(f"phase.adversarial.loss={kind}: may be {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    if smoothing and not KINDS[kind].has_target:
        raise UsageError(
            f"phase.adversarial.label_smoothing has no effect with loss={kind}, which has no target: set it to 0"
        )
    return KINDS[kind]


def discriminator_loss(real: Tensor, generated: Tensor, *, kind: str = "standard", smoothing: float = 0.0) -> Tensor:
    """What the discriminator minimises, from its logits (B, …) on real and on generated crops.

    Raises:
        UsageError: as ``game``.
    """
    return game(kind, smoothing=smoothing).discriminator(real.float(), generated.float(), 1 - smoothing)


def generator_loss(generated: Tensor, *, kind: str = "standard", real: Tensor | None = None) -> Tensor:
    """What the generator minimises, from the discriminator's logits (B, …) on its crops.

    Raises:
        UsageError: another ``kind``.
        ValueError: one that compares with real crops, without ``real``.
    """
    chosen = game(kind)
    if real is None:
        if chosen.compares:
            raise ValueError(f"phase.adversarial.loss={kind} needs the logits on real crops too")
        real = generated
    return chosen.generator(generated.float(), real.float())
