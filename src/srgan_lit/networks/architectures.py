"""The generators that this package has: a row of ``ARCHITECTURES`` each.

A generator is an ``nn.Module`` that takes ``lr`` (B, 3, h, w) in [0, 1] and returns ``sr`` (B, 3, scale*h, scale*w).
It has a ``scale``; a ``receptive_radius``, the LR pixels on each side that an output pixel can depend on (a halo of so
many makes tiles exact); and its ``architecture``: the keyword arguments that build it again, which a user's own need
not have. ``conf/model`` gives it its values. Generator files and checkpoints say the name of the row, or of the
user's class, and the architecture.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from srgan_lit.common.errors import UsageError
from srgan_lit.config import own_parts
from srgan_lit.config.nearest_name import nearest
from srgan_lit.config.schema import OWN, ModelConfig
from srgan_lit.networks import initialisation, srresnet


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A kind of generator.

    Args:
        network: its class; ``scale`` and what else ``model`` says are its keyword arguments.
        starts: by ``model.start``, what changes a network's random weights in place.
        grow: for ``model.start=grown``, what makes a network (the first) compute what a smaller one (the second) does.
    """

    network: type[nn.Module]
    starts: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)
    grow: Callable[[Any, Any], None] | None = None

    @functools.cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of the network's keyword arguments."""
        return tuple(inspect.signature(self.network).parameters)


SRRESNET = "srresnet"  # what files mean that say no name: until 0.1 there was no other

ARCHITECTURES = {
    SRRESNET: Architecture(
        network=srresnet.Generator,
        starts={"icnr": initialisation.icnr_, "interpolation": initialisation.interpolation_},
        grow=initialisation.grow_,
    ),
}


def architecture(config: ModelConfig) -> Architecture:
    """The row of the table that ``model.name`` names.

    Raises:
        UsageError: there is none, or another value of ``model`` means nothing to it.
    """
    if config.name not in ARCHITECTURES:
        names = (*ARCHITECTURES, OWN)
        raise UsageError(f"model.name={config.name}: may be {', '.join(names)}.{nearest(config.name, names)}")
    row = ARCHITECTURES[config.name]
    if "_target_" in config.network:
        raise UsageError(f"model.network._target_ needs model=own; this is a {config.name}")
    for key in config.network:
        if key not in row.arguments:
            raise UsageError(f"model.network.{key}: {config.name} has no such argument.{nearest(key, row.arguments)}")
    starts = ["random", *row.starts, *(["grown"] if row.grow else [])]
    if config.start not in starts:
        raise UsageError(f"model.start={config.start}: {config.name} can start {', '.join(starts)}")
    return row


def build(config: ModelConfig) -> nn.Module:
    """A new generator of the table, with the weights that it starts with. Checkpoints have such values.

    Raises:
        UsageError: as ``architecture``, its class refuses the values, or it is of the user's own.
    """
    if config.name == OWN:
        raise UsageError("a generator of a class of your own is given as the network itself: generator=…")
    row = architecture(config)
    values = {key: getattr(config, key) for key in ("blocks", "features", "scale", "upsampling")}
    try:
        network = row.network(**{key: values[key] for key in values if key in row.arguments} | config.network)
    except (TypeError, ValueError) as error:
        raise UsageError(f"model: {config.name} cannot be built ({error})") from error
    if config.start in row.starts:  # what is grown has its weights of another, or of a run's checkpoint
        try:
            row.starts[config.start](network)
        except ValueError as error:
            raise UsageError(f"model.start={config.start} cannot be: {error}") from error
    return network


def build_own(config: ModelConfig) -> nn.Module:
    """A new generator of the user's own: of their configuration only, never of a file or a checkpoint.

    Raises:
        UsageError: as ``own_parts.instantiate``, or it is no generator.
    """
    network = own_parts.instantiate(config.network, "model.network", scale=config.scale)
    target = config.network["_target_"]
    refuse_unless_generator(network, f"model.network: {target}")
    if network.scale != config.scale:
        raise UsageError(f"model.network: {target} has no attribute scale, or not model.scale={config.scale}")
    if not hasattr(network, "architecture"):
        arguments = {key: value for key, value in config.network.items() if not key.startswith("_")}
        network.architecture = {"scale": config.scale, **arguments}
    return network


def refuse_unless_generator(network: object, named: str) -> None:
    """Refuse what cannot be used as a generator, whatever its class.

    Raises:
        UsageError: it is no ``nn.Module``, or it lacks ``scale`` or ``receptive_radius``.
    """
    if not isinstance(network, nn.Module):
        raise UsageError(f"{named} makes a {type(network).__name__}, no torch.nn.Module")
    if not isinstance(getattr(network, "scale", None), int):
        raise UsageError(f"{named} has no attribute scale, a whole number: how many times larger the output is")
    if not isinstance(getattr(network, "receptive_radius", None), int | float):
        raise UsageError(
            f"{named} has no number receptive_radius, the LR pixels on each side that an output pixel can depend on"
        )


def name_of(network: nn.Module) -> str:
    """The name of this kind of generator in files: the row's, or the name of a class that is not in the table."""
    kind = type(network)
    ours = (name for name, row in ARCHITECTURES.items() if row.network is kind)
    return next(ours, f"{kind.__module__}.{kind.__qualname__}")


def shape_of(network: nn.Module) -> dict[str, Any]:
    """The keyword arguments that build it again; {} where a network of the user's own does not say them as JSON."""
    try:
        return dict(json.loads(json.dumps(dict(network.architecture))))  # type: ignore[arg-type]
    except (AttributeError, TypeError, ValueError):
        return {}
