"""What is trained where nothing is said: the paper's recipe; and values that a program gives in place of it."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter
from torch import nn

from srgan_lit.config.schema import AdversarialConfig, PhaseConfig, PretrainConfig
from srgan_lit.config.shipped import term_weights
from srgan_lit.networks import architectures, discriminators

Settings = TypeVar("Settings")

PRETRAIN = PretrainConfig(iterations=1_000_000)
ADVERSARIAL = AdversarialConfig(iterations=200_000, schedule="steps", decay_at=(0.5,))


def settings(kind: type[Settings], given: Settings | Mapping[str, Any] | None) -> Settings:
    """``given`` as an object of ``kind``, a class of ``config.schema``: its defaults where nothing is given.

    Raises:
        pydantic.ValidationError: a key is unknown, or a value out of range.
    """
    return TypeAdapter(kind).validate_python({} if given is None else given)


def plan(given: PhaseConfig | Mapping[str, Any] | None, own_terms: Iterable[str] = ()) -> PhaseConfig:
    """The phases to run: the paper's two, or those that ``given`` names, e.g. ``{"pretrain": {"iterations": 1000}}``.

    What a phase does not say of itself is as in the paper; so are the weights of the generator's loss. ``own_terms``
    are names of terms that the program has beside those.

    Raises:
        pydantic.ValidationError: a key is unknown, or a value out of range.
    """
    if isinstance(given, PhaseConfig):
        return given
    phases: dict[str, Any] = {"pretrain": {}, "adversarial": {}} if given is None else dict(given)
    pretrain, adversarial = phases.get("pretrain"), phases.get("adversarial")
    if isinstance(pretrain, Mapping):
        phases["pretrain"] = {"iterations": PRETRAIN.iterations, **pretrain}
    if isinstance(adversarial, Mapping):
        # A schedule that is given stands alone: cosine has no use for the paper's steps.
        steps = {} if "schedule" in adversarial else {"schedule": "steps", "decay_at": ADVERSARIAL.decay_at}
        phases["adversarial"] = {"iterations": ADVERSARIAL.iterations, **steps, **adversarial}
    if adversarial is not None:
        phases["weights"] = {**term_weights(), **(phases.get("weights") or {})}
        phases["terms"] = {**{name: {} for name in own_terms}, **phases.get("terms", {})}
    both = pretrain is not None and adversarial is not None
    name = "full" if both else "pretrain" if adversarial is None else "adversarial"
    return settings(PhaseConfig, {"name": name, **phases})


def judge(discriminator: nn.Module | None) -> dict[str, Any]:
    """What ``SRGANModule`` builds such a discriminator from again, as plain values; nothing of a class not ours."""
    if discriminator is None or (name := discriminators.name_of(discriminator)) not in discriminators.DISCRIMINATORS:
        return {}
    return {"discriminator": {"name": name, **discriminators.shape_of(discriminator)}}


def shape(generator: nn.Module) -> dict[str, Any]:
    """What ``SRGANModule`` builds such a generator from again, as plain values; nothing of a class that is not ours."""
    name, values = architectures.name_of(generator), architectures.shape_of(generator)
    if name not in architectures.ARCHITECTURES:
        return {}
    common: dict[str, Any] = {key: values.pop(key) for key in ("blocks", "features", "scale") if key in values}
    return {**common, "generator": {"name": name, **common, "network": values}}
