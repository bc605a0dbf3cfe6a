"""Going on where a run stopped: its configuration, what may change, and what it learns from. No torch."""

import contextlib
import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config import own_parts, plain_yaml, quoting
from srgan_lit.config.schema import TrainConfig
from srgan_lit.data import learnt_from, sets
from srgan_lit.training import launch

if TYPE_CHECKING:
    from srgan_lit.data.datamodule import SRDataModule

log = logging.getLogger(__name__)

# What may change, and until when; a key stands for those below it. All else would make another run.
# docs/resume.md tells users; a test compares.
ALWAYS = (  # where it runs and what it reports, not what it computes
    "resume", "run_dir", "hydra", "trainer", "logger", "objective", "compile", "validate_every", "checkpoint_every",
    "log_every", "optimization.clip_gradients", "data.root", "data.hr", "data.lr", "data.meta_info",
    "data.validation_root", "data.test_root", "data.cache", "data.workers",
    "accept_changed_pictures", "trust_targets",
)  # fmt: skip
UNTIL_PHASE_ENDS = ("iterations", "learning_rate")  # of ``phase.pretrain`` and ``phase.adversarial``
UNTIL_ADVERSARIAL = ("phase.adversarial", "phase.weights", "perceptual")  # may change until that phase begins

MATERIAL = learnt_from.FILE
_GROUPS = ("data", "logger")  # whose options differ in keys


def run_dir_override(arguments: Sequence[str]) -> list[str]:
    """The ``run_dir=`` that a ``resume=`` among the arguments of a command implies; empty where there is none.

    Raises:
        UsageError: the arguments name another one.
    """
    run_dir, elsewhere = _last(arguments, "resume"), _last(arguments, "run_dir")
    if run_dir is None:
        return []
    if elsewhere not in (None, run_dir):
        raise UsageError(
            f"resume={run_dir} goes on in that folder, not in run_dir={elsewhere}; leave run_dir out, "
            "or copy the folder and resume the copy"
        )
    return [f"run_dir={run_dir}"]


def group_overrides(arguments: Sequence[str]) -> list[str]:
    """``data=`` and ``logger=`` of the run that a ``resume=`` names, where the arguments change keys of it."""
    run_dir = _last(arguments, "resume")
    groups = [name for name in _GROUPS if any(argument.startswith(f"{name}.") for argument in arguments)]
    if run_dir is None or not groups:
        return []
    with contextlib.suppress(Exception):  # no run is there, or one of an older version: said where it is resumed
        path = OverridesParser.create().parse_override(f"resume={run_dir}").value()
        values = saved(Path(str(path)))
        named = {name: str(values[name]["name"]) for name in groups}
        # A path would have Hydra compose any file.
        return [f"{name}={option}" for name, option in named.items() if option.isidentifier()]
    return []


def _last(arguments: Sequence[str], key: str) -> str | None:
    """The value that counts among ``key=value``; None where there is none."""
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{key}=")]
    return values[-1] if values and values[-1] not in ("null", "") else None


def _covers(keys: Iterable[str], key: str) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in keys)


def saved(run_dir: Path) -> dict[str, Any]:
    """The configuration that a run was begun, or last gone on, with.

    Raises:
        UsageError: no run is there, or ``config.yaml`` is damaged.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise UsageError(f"resume={run_dir}: no run directory (no config.yaml in it)")
    try:
        values = plain_yaml.read(path)
    except SRGANError as error:
        raise UsageError(f"{path}: no configuration of a run ({error})") from error
    if not isinstance(values, dict) or not isinstance(values.get("phase"), dict):
        raise UsageError(f"{path}: no configuration of a run; remove {run_dir} and start it anew")
    return values


def configuration(cfg: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """The configuration of the run that ``cfg.resume`` names, changed by the keys that were set beside it.

    Raises:
        UsageError: no run is there, a key would make another run of it, or it names code that ``cfg``, which is the
            command line's, does not.
    """
    run_dir = Path(str(cfg.resume))
    values = saved(run_dir)
    _check_targets(run_dir, own_parts.targets(values), cfg)
    values["data"] = {"reading": 1, **values["data"]}  # of runs that began before there was another
    resumed = OmegaConf.create(quoting.literals(values))
    own_groups = [f"{name}={OmegaConf.select(resumed, f'{name}.name')}" for name in _GROUPS]
    for override in overrides:
        if override in own_groups:  # ``group_overrides``'s
            continue
        key, _, text = override.partition("=")
        before = OmegaConf.select(resumed, key)
        if before is not None and before == OmegaConf.select(cfg, key):
            continue
        moves = key == "lpips" and before and OmegaConf.select(cfg, key)  # ``check_material`` looks at the file
        if not _covers((*ALWAYS, *UNTIL_ADVERSARIAL), key) and not _ends_with_phase(key) and not moves:
            start = quoting.override("init_from", run_dir / "generator.safetensors")
            raise UsageError(
                f"resume with {key}={text} (it was {before}) would be another run; start one with {start}, "
                f"or leave {key} out"
            )
        if isinstance(before, DictConfig):
            raise UsageError(f"resume keeps the group {key}; change its keys, e.g. trainer.devices=2")
        OmegaConf.update(resumed, key, quoting.literals(OmegaConf.select(cfg, key)), force_add=True)
    return resumed


def _check_targets(run_dir: Path, named: Mapping[str, str], cfg: DictConfig) -> None:
    """See that the command line vouches for all code that the run's ``config.yaml`` names: it may be anybody's.

    It does by ``trust_targets``, or by naming the same itself, as the command does that began the run.

    Raises:
        UsageError: it does not.
    """
    trusted = cfg.trust_targets
    vouched = set(own_parts.targets(OmegaConf.to_container(cfg, resolve=True)).values())
    vouched |= set(map(str, trusted)) if isinstance(trusted, ListConfig) else set()
    said = ", ".join(f"{key} makes {name}" for key, name in named.items() if name not in vouched)
    if said and trusted is not True:
        raise UsageError(
            f"{quoting.override('resume', run_dir)}: its config.yaml names code that this command does not: {said}. "
            "Where you know all of it, add trust_targets=true"
        )
    if said and launch.is_first():
        log.warning("trust_targets: %s", said)


def _ends_with_phase(key: str) -> bool:
    return key.startswith(("phase.pretrain.", "phase.adversarial.")) and key.rpartition(".")[2] in UNTIL_PHASE_ENDS


def length(run_dir: Path) -> int:
    """Iterations of the whole run, as it was begun, or last gone on with."""
    before = flat(saved(run_dir))
    return sum(int(before.get(f"phase.{name}.iterations") or 0) for name in ("pretrain", "adversarial"))


def check_progress(run_dir: Path, config: TrainConfig, iteration: int) -> None:
    """Refuse changes of what is done already, and name all others; ``iteration`` is where the run goes on.

    Raises:
        UsageError: a phase that is over, or has begun, would be another, or shorter than it is by now.
    """
    before, now = flat(saved(run_dir)), flat(as_saved(config))
    pretraining = before.get("phase.pretrain.iterations") or 0
    has_adversarial = "phase.adversarial.iterations" in before
    where = quoting.override("resume", run_dir)
    for key in sorted((before.keys() | now.keys()) - {"resume", "run_dir"}):
        old, new = before.get(key), now.get(key)
        if old == new or (not old and not new):  # a weight that is 0 is none
            continue
        if not (key in before and key in now) and not _covers(UNTIL_ADVERSARIAL, key):
            continue  # a key of another version of this package
        said = f"{where} {quoting.override(key, new)} (it was {old})"
        if _ends_with_phase(key):
            first = 0 if key.startswith("phase.pretrain.") else pretraining
            if key.startswith("phase.pretrain.") and has_adversarial and iteration >= pretraining:
                raise UsageError(f"{said}: pretraining is done with its {pretraining:,} iterations; leave {key} out")
            if key.endswith(".iterations") and (new or 0) < iteration - first:
                raise UsageError(
                    f"{said}: {iteration - first:,} iterations of that phase are done, and stay; "
                    f"take {key}={iteration - first} or more"
                )
        elif _covers(UNTIL_ADVERSARIAL, key) and iteration > pretraining and key != "perceptual.weights":
            raise UsageError(f"{said}: the adversarial phase has begun with it; leave {key} out")
        log.info("resume: %s is %s now; it was %s", key, new, old)


def as_saved(config: TrainConfig) -> dict[str, Any]:
    """What ``config.yaml`` says: ``config``, but a consent is given for once."""
    return dataclasses.asdict(config) | {"accept_changed_pictures": False, "trust_targets": False}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys, dotted; tuples as the lists that a file has."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flattened |= flat(value, f"{prefix}{key}.")
        else:
            flattened[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flattened


def _recorded(path: Path) -> learnt_from.Record | None:
    """The record at ``path``; None where there is none, or it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return learnt_from.read(path)
    return None


def check_material(run_dir: Path, data: "SRDataModule", config: TrainConfig, *, iteration: int) -> dict[str, Any]:
    """Compare the pictures, VGG's weights and LPIPS's with those that the run has had so far.

    Args:
        run_dir: of the run.
        data: the pictures that there are now, set up.
        config: of the run, as it goes on; ``accept_changed_pictures`` consents to other pictures.
        iteration: where it goes on; at 0 it may learn from anything.

    Returns:
        What ``record_material`` is to write when the run goes on.

    Raises:
        UsageError: pictures were changed, added or removed (names them), or the adversarial phase has begun with
            other weights, or validations with other weights of LPIPS.
    """
    path, network, judge = run_dir / MATERIAL, _digest_of_vgg(config), _digest(config.lpips)
    record, material = _recorded(path) or learnt_from.Record(), data.material()
    recorded = learnt_from.roles(vars(record))
    before, now = recorded, learnt_from.roles(material)
    if record.pictures:  # of a run that began when files were compared, whatever they were for
        before = {name: ("", digest) for name, digest in record.pictures.items()}
        now = {name: ("", digest) for name, digest in data.packed.digests.items()}
    if iteration and before and before != now:
        kinds = {
            "gone": [name for name in before if name not in now],
            "new": [name for name in now if name not in before],
            "changed": [name for name in before if now.get(name, before[name])[1] != before[name][1]],
            "moved between training and validation": [
                name for name in before if now.get(name, before[name])[0] != before[name][0]
            ],
        }
        said = ", ".join(f"{len(names)} {kind} ({sets.listing(names)})" for kind, names in kinds.items() if names)
        if not config.accept_changed_pictures:
            raise UsageError(
                f"{quoting.override('resume', run_dir)}: the pictures are not those that the run began with: {said}. "
                "Put them back, or go on with these by accept_changed_pictures=true"
            )
        log.warning("resume: from iteration %d on with other pictures: %s", iteration, said)
    if iteration and not before:
        log.info("resume: %s has no readable record of its pictures; from now on those of today count", run_dir)
    pretraining = config.phase.pretrain.iterations if config.phase.pretrain else 0
    if iteration > pretraining and network != (record.perceptual or network):
        weights = quoting.override("perceptual.weights", config.perceptual.weights)
        raise UsageError(
            f"{quoting.override('resume', run_dir)}: {weights} are not the weights that the adversarial phase began "
            "with; name a copy of those"
        )
    if iteration and judge != (record.lpips or judge):
        raise UsageError(
            f"{quoting.override('resume', run_dir)}: {quoting.override('lpips', config.lpips)} has not the weights "
            "that validations have been scored with; name a copy of those"
        )
    inherited = record.inherited if iteration else None
    if inherited is None:
        inherited = {}
        if config.init_from and (iteration == 0 or Path(config.init_from).exists()):
            from srgan_lit.model_files import generator_file  # torch

            inherited = learnt_from.inherited(generator_file.find_model(config.init_from))
    if iteration and recorded not in ({}, now):  # what it had before is not forgotten
        inherited = learnt_from.inherited(run_dir)
    return {**material, "inherited": inherited, "perceptual": network, "lpips": judge}


def record_material(run_dir: Path, material: Mapping[str, Any]) -> None:
    """Write what the run learns from; a record that cannot be read is kept beside it."""
    if (run_dir / MATERIAL).is_file() and _recorded(run_dir / MATERIAL) is None:
        atomic_files.set_aside(run_dir / MATERIAL)
    atomic_files.write_text(run_dir / MATERIAL, json.dumps(material, indent=0, ensure_ascii=False) + "\n")


def _digest_of_vgg(config: TrainConfig) -> str | None:
    """Of VGG's weights, where they are used and a file; else their name."""
    if not (config.phase.weights and config.phase.weights.get("perceptual")):
        return None
    return _digest(config.perceptual.weights)


def _digest(weights: str | None) -> str | None:
    """Of a file of weights; else their name."""
    if weights is None or not Path(weights).is_file():  # imagenet, random, alex
        return weights
    with Path(weights).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
