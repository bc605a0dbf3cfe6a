"""Errors of Hydra and pydantic about a command line, as one line with the nearest right name."""

import dataclasses
import itertools
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from pydantic import ValidationError

from srgan_lit.common.errors import UsageError
from srgan_lit.config import quoting
from srgan_lit.config.nearest_name import nearest
from srgan_lit.config.schema import TrainConfig
from srgan_lit.config.shipped import term_weights


def known_keys() -> list[str]:
    """Every key that some experiment has, dotted, groups included: ``model``, ``model.blocks``, …"""
    return [*_fields(TrainConfig), *(f"phase.weights.{name}" for name in term_weights())]


def _fields(cls: type, prefix: str = "") -> list[str]:
    keys = []
    for field, kind in typing.get_type_hints(cls).items():
        keys.append(prefix + field)
        parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        for part in parts:
            if dataclasses.is_dataclass(part):
                keys += _fields(typing.cast(type, part), f"{prefix}{field}.")
    return keys


def own_folder(arguments: Sequence[str]) -> Path | None:
    """The folder of a user's own configuration: ``--config-dir`` of a command line."""
    for argument, following in itertools.zip_longest(arguments, arguments[1:]):
        flag, _, value = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            return Path(value or following or "")
    return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Composed:
    """What a command line composes, whatever is wrong with its values.

    ``choices`` are the options of its groups, e.g. ``{"data": "folder"}``; ``keys`` all its keys, dotted.
    """

    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    keys: Sequence[str] = ()


def composed(conf: Path, arguments: Sequence[str]) -> Composed:
    """What the groups that ``arguments`` choose compose, from a user's own folder too where they name one."""
    own = own_folder(arguments)
    folders = [conf, *([own] if own else [])]
    overrides = [
        argument
        for argument in arguments
        if "=" in argument and any((folder / argument.partition("=")[0]).is_dir() for folder in folders)
    ]
    if own:
        overrides.append(f"hydra.searchpath=[{json.dumps(str(own.absolute()))}]")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3", job_name="train"):
            config = compose("train", overrides=overrides, return_hydra_config=True)
    except Exception:  # a group is wrong too, and is refused first
        return Composed()
    values = typing.cast(dict[str, typing.Any], OmegaConf.to_container(config))
    del values["hydra"]
    return Composed(choices=dict(config.hydra.runtime.choices), keys=_dotted(values))


def _dotted(values: Mapping[str, typing.Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in values.items():
        keys.append(f"{prefix}{key}")
        if isinstance(value, Mapping):
            keys += _dotted(value, f"{prefix}{key}.")
    return keys


def unknown_key(key: str, composed: Composed) -> UsageError:
    """The refusal of a key that this composition does not have."""
    if key in known_keys():
        group = key.partition(".")[0]
        return UsageError(f"{key} has no effect with {group}={composed.choices.get(group, '?')}; leave it out")
    for mapping in ("trainer.extra", "logger.extra"):
        if key.startswith(f"{mapping}.") and mapping in composed.keys:
            return UsageError(f"{key} is not there yet: +{key}=<value> adds it")
    keys = dict.fromkeys([*known_keys(), *composed.keys, "experiment", "sweep"])
    return UsageError(f"no such key: {key}.{nearest(key, keys)} (python -m srgan_lit.train --help lists all)")


def explain(error: Exception, conf: Path, arguments: Sequence[str]) -> UsageError | None:
    """The refusal to print for an error of Hydra, OmegaConf or pydantic; None for any other error.

    ``conf`` and ``arguments`` are those of the command that raised it.
    """
    composition = composed(conf, arguments)
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException):
        missing = re.search(r"Could not find '(?:([^']*)/)?([^'/]+)'", text)
        group, name = (missing[1], missing[2]) if missing else (None, text)
        if (group or "").startswith("hydra/"):  # those plugins bring sweepers and launchers
            known = list(error.options or ())
            return UsageError(
                f"no {group}={name} here.{nearest(name, known)} pip install 'srgan_lit[sweep]' brings more"
            )
        options = list(error.options or ())
        have = f" {group} may be {', '.join(options)}." if options else ""
        return UsageError(f"no such {group or 'config'}: {name}.{nearest(name, options)}{have}")
    if isinstance(error, OverrideParseException):
        return quoting.unreadable(str(error.override))
    if isinstance(error, ConfigCompositionException):
        override = re.search(r"Could not override '([^']+)'", text)
        group = re.search(r"Could not override '?([\w/]+)'?\. No match in the defaults list", text)
        if override and isinstance(error.__cause__, ConfigKeyError | AttributeError | OmegaConfBaseException):
            return unknown_key(override[1], composition)
        if group:
            return UsageError(f"no such group: {group[1]}.{nearest(group[1], known_keys())}")
        return UsageError(text)
    if isinstance(error, ValidationError) and error.title == TrainConfig.__name__:
        return UsageError("; ".join(_violation(item, composition) for item in error.errors()))
    if isinstance(error, OmegaConfBaseException):
        return UsageError(text)
    return None


def _violation(item: typing.Any, composition: Composed) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] in ("unexpected_keyword_argument", "no_such_attribute"):
        return str(unknown_key(key, composition))
    if item["type"] == "missing" or item["type"] == "missing_keyword_only_argument":
        return f"{key} is missing: set {key}=<value>"
    message = item["msg"].removeprefix("Value error, ")
    if message.startswith(key):
        return message
    said = "" if isinstance(item["input"], dict) else f"={item['input']}"
    return f"{key}{said}: {message[0].lower() + message[1:]}"
