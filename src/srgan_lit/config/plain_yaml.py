"""YAML of a run directory, which may come from anybody: plain values. Nothing is resolved, executed or multiplied."""

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader  # what OmegaConf reads with: 1e-4 is a number; tags make no objects

from srgan_lit.common.errors import SRGANError

LONGEST = 2**20  # bytes; a run's own has a few thousand
DEEPEST = 100  # levels; a run's own has six
_ESCAPED = re.compile(r"(\\*)\$\{")


def _checked(text: str) -> str:
    """Aliases are refused: nine lines of them stand for gigabytes, and what OmegaConf writes has none. So is depth."""
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias in line {event.start_mark.line + 1}; write the value itself")
        if depth > DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} levels in line {event.start_mark.line + 1}")
    return text


def read(path: Path) -> Any:
    """What OmegaConf wrote to ``path``, of ``quoting.literals``: dicts, lists, texts, numbers, true, false and null.

    Raises:
        SRGANError: it is something else; says what, without ``path``.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ValueError(f"more than {LONGEST:,} bytes")
        return _plain(yaml.load(_checked(content.decode()), Loader=get_yaml_loader()))
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise SRGANError(" ".join(str(error).split())) from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return _ESCAPED.sub(_unescaped, value)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"a {type(value).__name__}; only texts, numbers, true, false and null are read")


def _unescaped(match: re.Match[str]) -> str:
    """The opposite of ``quoting.literal``."""
    if len(match[1]) % 2 == 0:
        raise ValueError(f"{match.string[match.start() :][:80]!r} is not resolved; write the value itself")
    return match[1][: len(match[1]) // 2] + "${"
