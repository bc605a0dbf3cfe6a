"""The discriminators that this package has: a row of ``DISCRIMINATORS`` each.

A discriminator is an ``nn.Module`` that takes crops (B, 3, H, W) in [0, 1] and returns logits, positive for "looks
real": (B, 1), or any other number of them for each crop, e.g. one a pixel (B, 1, H, W). It has no sigmoid.
``conf/discriminator`` gives it its values. Checkpoints say the name of the row.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from srgan_lit.common.errors import UsageError
from srgan_lit.config import own_parts
from srgan_lit.config.nearest_name import nearest
from srgan_lit.config.schema import OWN, DiscriminatorConfig
from srgan_lit.networks.discriminator import Discriminator
from srgan_lit.networks.unet_discriminator import UNetDiscriminator

SRGAN = "srgan"  # what checkpoints mean that say no name: until 0.2 there was no other

DISCRIMINATORS: dict[str, type[nn.Module]] = {SRGAN: Discriminator, "unet": UNetDiscriminator}
_SETTINGS = ("normalisation", "features")  # of ``DiscriminatorConfig``, each an attribute of those that have it


def build(config: DiscriminatorConfig, *, crop: int) -> nn.Module:
    """A new discriminator of the table for crops of ``crop`` pixels, with random weights. Checkpoints have such values.

    Raises:
        UsageError: the table has no such name, its class refuses the crop, or it is of the user's own.
    """
    if config.name == OWN:
        raise UsageError("a discriminator of a class of your own is given as the network itself: discriminator=…")
    if config.name not in DISCRIMINATORS:
        names = (*DISCRIMINATORS, OWN)
        raise UsageError(f"discriminator.name={config.name}: may be {', '.join(names)}.{nearest(config.name, names)}")
    if config.network:
        raise UsageError(f"discriminator.network needs discriminator=own; this is {config.name}")
    kind = DISCRIMINATORS[config.name]
    values = {"crop": crop, **{key: getattr(config, key) for key in _SETTINGS}}
    takes = inspect.signature(kind).parameters
    try:
        return kind(**{key: value for key, value in values.items() if key in takes})
    except ValueError as error:
        raise UsageError(f"discriminator={config.name} cannot be built ({error})") from error


def build_own(config: DiscriminatorConfig, *, crop: int) -> nn.Module:
    """A new discriminator of the user's own: of their configuration only, never of a file or a checkpoint.

    Raises:
        UsageError: as ``own_parts.instantiate``, or it does not give logits for two crops of ``crop`` pixels.
    """
    network = own_parts.instantiate(config.network, "discriminator.network")
    target = config.network["_target_"]
    if not isinstance(network, nn.Module):
        raise UsageError(f"discriminator.network: {target} makes a {type(network).__name__}, no torch.nn.Module")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        with torch.no_grad():
            logits = network(torch.rand(2, 3, crop, crop, generator=torch.Generator().manual_seed(0)))
    except Exception as error:  # it may raise anything
        raise UsageError(
            f"discriminator.network: {target} fails on two crops (2, 3, {crop}, {crop}) "
            f"({' '.join(f'{type(error).__name__}: {error}'.split())})"
        ) from error
    network.load_state_dict(before)  # that trial leaves no trace
    if not isinstance(logits, Tensor) or logits.dim() < 2 or len(logits) != 2:
        said = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(f"discriminator.network: {target} gives {said} for two crops, and not logits (2, 1) or (2, …)")
    return network


def name_of(network: nn.Module) -> str:
    """The name of this kind in checkpoints: the row's, or the name of a class that is not in the table."""
    kind = type(network)
    ours = (name for name, row in DISCRIMINATORS.items() if row is kind)
    return next(ours, f"{kind.__module__}.{kind.__qualname__}")


def shape_of(network: nn.Module) -> dict[str, Any]:
    """What ``discriminator`` says of it but its name; of a class that is not in the table nothing is known."""
    takes = inspect.signature(type(network)).parameters if name_of(network) in DISCRIMINATORS else {}
    return {key: getattr(network, key) for key in _SETTINGS if key in takes}
