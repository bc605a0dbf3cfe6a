"""Errors of Hydra and pydantic about a command line, as one line with the nearest right name."""

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from pydantic import ValidationError

from srgan_lit.common.errors import UsageError
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


def chosen(conf: Path, arguments: Sequence[str]) -> dict[str, str]:
    """The groups as ``arguments`` choose them, e.g. ``{"data": "folder"}``, whatever else is wrong with them."""
    groups = [argument for argument in arguments if (conf / argument.partition("=")[0]).is_dir() and "=" in argument]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3", job_name="train"):
            composed = compose("train", overrides=groups, return_hydra_config=True)
    except Exception:  # a group is wrong too, and is refused first
        return {}
    return dict(composed.hydra.runtime.choices)


def unknown_key(key: str, choices: Mapping[str, str]) -> UsageError:
    """The refusal of a key that this composition does not have."""
    if key in known_keys():
        group = key.partition(".")[0]
        return UsageError(f"{key} has no effect with {group}={choices.get(group, '?')}; leave it out")
    keys = [*known_keys(), "experiment", "sweep"]
    return UsageError(f"no such key: {key}.{nearest(key, keys)} (python -m srgan_lit.train --help lists all)")


def explain(error: Exception, conf: Path, arguments: Sequence[str]) -> UsageError | None:
    """The refusal to print for an error of Hydra, OmegaConf or pydantic; None for any other error.

    ``conf`` and ``arguments`` are those of the command that raised it.
    """
    choices = chosen(conf, arguments)
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
        return UsageError(
            f"cannot read {error.override!r}: arguments are key=value, and a value with spaces or ()[]{{}},= goes in "
            f"quotes of its own, e.g. 'data.root=\"my photos (1)\"'"
        )
    if isinstance(error, ConfigCompositionException):
        override = re.search(r"Could not override '([^']+)'", text)
        group = re.search(r"Could not override '?([\w/]+)'?\. No match in the defaults list", text)
        if override and isinstance(error.__cause__, ConfigKeyError | AttributeError | OmegaConfBaseException):
            return unknown_key(override[1], choices)
        if group:
            return UsageError(f"no such group: {group[1]}.{nearest(group[1], known_keys())}")
        return UsageError(text)
    if isinstance(error, ValidationError) and error.title == TrainConfig.__name__:
        return UsageError("; ".join(_violation(item, choices) for item in error.errors()))
    if isinstance(error, OmegaConfBaseException):
        return UsageError(text)
    return None


def _violation(item: typing.Any, choices: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] in ("unexpected_keyword_argument", "no_such_attribute"):
        return str(unknown_key(key, choices))
    if item["type"] == "missing" or item["type"] == "missing_keyword_only_argument":
        return f"{key} is missing: set {key}=<value>"
    message = item["msg"].removeprefix("Value error, ")
    if message.startswith(key):
        return message
    said = "" if isinstance(item["input"], dict) else f"={item['input']}"
    return f"{key}{said}: {message[0].lower() + message[1:]}"
