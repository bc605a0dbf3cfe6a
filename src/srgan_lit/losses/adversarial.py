"""What the two networks minimise of each other's game (Ledig et al. 2017, section 2.2.2, and its variants).

Every function takes logits of whole batches and returns a scalar in float32, whatever the precision of its input.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

ADVERSARIAL = ("standard", "relativistic", "least_squares", "hinge")


def discriminator_loss(real: Tensor, generated: Tensor, *, kind: str = "standard", smoothing: float = 0.0) -> Tensor:
    """What the discriminator minimises, from its logits (B, 1) on real and on generated crops.

    ``standard``: binary cross-entropy, -log D(hr) - log(1 - D(sr)), as the paper. ``relativistic``: the average
    one (Jolicoeur-Martineau 2018, as in ESRGAN). ``least_squares``: Mao et al. 2017. ``hinge``: Lim and Ye 2017.
    ``smoothing`` lowers the target of real crops from 1 (one-sided; Salimans et al. 2016).

    Raises:
        ValueError: another ``kind``, or smoothing with hinge, which has no target.
    """
    real, generated = real.float(), generated.float()
    if kind == "standard":
        return _cross_entropy(real, 1 - smoothing) + _cross_entropy(generated, 0)
    if kind == "relativistic":
        return _cross_entropy(real - generated.mean(), 1 - smoothing) + _cross_entropy(generated - real.mean(), 0)
    if kind == "least_squares":
        return ((real - (1 - smoothing)).square().mean() + generated.square().mean()) / 2
    if kind == "hinge" and smoothing == 0:
        return F.relu(1 - real).mean() + F.relu(1 + generated).mean()
    raise ValueError(f"adversarial loss must be one of {ADVERSARIAL} (hinge without smoothing), not {kind!r}")


def generator_loss(generated: Tensor, *, kind: str = "standard", real: Tensor | None = None) -> Tensor:
    """What the generator minimises, from the discriminator's logits (B, 1) on its crops.

    ``standard``: -log D(sr), which keeps its gradient where the discriminator is sure (section 2.2.2).
    ``relativistic`` needs the logits on real crops too.

    Raises:
        ValueError: another ``kind``, or relativistic without ``real``.
    """
    generated = generated.float()
    if kind == "standard":
        return _cross_entropy(generated, 1)
    if kind == "relativistic" and real is not None:
        real = real.float()
        return _cross_entropy(real - generated.mean(), 0) + _cross_entropy(generated - real.mean(), 1)
    if kind == "least_squares":
        return (generated - 1).square().mean() / 2
    if kind == "hinge":
        return -generated.mean()
    raise ValueError(f"adversarial loss must be one of {ADVERSARIAL} (relativistic with real), not {kind!r}")


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
