"""The parts that a configuration names: rows of the tables, or classes of the user's own."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from torch import device, nn

from srgan_lit.common.errors import UsageError
from srgan_lit.config import own_parts
from srgan_lit.config.schema import OWN, ModelConfig, PhaseConfig, TrainConfig
from srgan_lit.losses import adversarial, terms
from srgan_lit.networks import architectures, discriminators
from srgan_lit.networks.srresnet import Generator

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger


def generator(config: ModelConfig) -> Generator:
    """A new generator, of the table or of the user's own.

    Raises:
        UsageError: it cannot be made.
    """
    make = architectures.build_own if config.name == OWN else architectures.build
    return cast(Generator, make(config))


def discriminator(config: TrainConfig) -> nn.Module:
    """A new discriminator for the crops of ``config``, of the table or of the user's own.

    Raises:
        UsageError: it cannot be made.
    """
    make = discriminators.build_own if config.discriminator.name == OWN else discriminators.build
    return make(config.discriminator, crop=config.data.crop)


def own_terms(phase: PhaseConfig) -> dict[str, terms.Own]:
    """The user's own terms of the generator's loss, by name: called with ``sr`` and ``hr``.

    Raises:
        UsageError: one cannot be made, or called.
    """
    own = {name: own_parts.instantiate(of, f"phase.terms.{name}") for name, of in phase.terms.items()}
    for name, term in own.items():
        if not callable(term):
            raise UsageError(
                f"phase.terms.{name}: {phase.terms[name]['_target_']} makes a {type(term).__name__}, which cannot be "
                "called with sr and hr; of a function, add _partial_: true"
            )
    return own


def own_callbacks(config: TrainConfig) -> "list[Callback]":
    """The user's own callbacks.

    Raises:
        UsageError: one cannot be made, or is none.
    """
    if not config.callbacks:
        return []
    from lightning.pytorch.callbacks import Callback

    callbacks = {name: own_parts.instantiate(of, f"callbacks.{name}") for name, of in config.callbacks.items()}
    for name, callback in callbacks.items():
        if not isinstance(callback, Callback):
            raise UsageError(
                f"callbacks.{name}: {config.callbacks[name]['_target_']} makes a {type(callback).__name__}, no "
                "lightning.pytorch.callbacks.Callback"
            )
    return list(callbacks.values())


def own_loggers(config: TrainConfig) -> "list[Logger]":
    """The user's own loggers, beside those of ``logger``.

    Raises:
        UsageError: one cannot be made.
    """
    return [own_parts.instantiate(of, f"logger.extra.{name}") for name, of in config.logger.extra.items()]


def check(config: TrainConfig, *, set_by_user: Iterable[str] = ()) -> None:
    """Refuse a part that no table has, or that cannot be made: before anything of the run is.

    ``set_by_user`` are keys of the command line, of which none may be without effect.

    Raises:
        UsageError: says which.
    """
    if config.model.name == OWN:
        architectures.build_own(config.model)
    else:
        takes = architectures.architecture(config.model).arguments
        for key in ("blocks", "features", "upsampling"):
            if key not in takes and f"model.{key}" in set_by_user:
                raise UsageError(f"model.{key} has no effect: {config.model.name} has no such argument; leave it out")
    if config.phase.adversarial:
        adversarial.game(config.phase.adversarial.loss, smoothing=config.phase.adversarial.label_smoothing)
        own_terms(config.phase)
        with device("cpu" if config.discriminator.name == OWN else "meta"):  # of ours the shapes alone
            discriminator(config)
    own_callbacks(config)
    if config.logger.extra:  # not made here: some reach for their service at once
        from lightning.pytorch.loggers import Logger

        for name, of in config.logger.extra.items():
            own_parts.check(of, f"logger.extra.{name}", kind=Logger)
    if config.trainer.extra:
        from srgan_lit.training import trainer_options

        trainer_options.check_extra(config.trainer.extra)
