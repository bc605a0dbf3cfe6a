"""Overrides as a user types them: whatever a value holds, the shell and Hydra give it back. No torch."""

import re
import shlex
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

_PLAIN = re.compile(r"[\w./:+%-]*[/.][\w./:+%-]*|(?!(?:null|true|false|nan|inf)$)[a-z]\w*", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[-+\d._eE]*")


def literal(text: str) -> str:
    """``text`` so that OmegaConf takes ``${…}`` in it as it stands."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def override(key: str, value: object) -> str:
    """``key=value`` for Hydra, without a shell between. Text that Hydra would read as anything else gets quotes."""
    text = str(value)
    if not isinstance(value, str | Path) or (_PLAIN.fullmatch(text) and not _NUMBER.fullmatch(text)):
        return f"{key}={text}"
    return f"{key}={QuotedString(literal(text), Quote.double).with_quotes()}"


def train_command(**values: object) -> str:
    """The training command with these keys, to be pasted into a shell. ``__`` in a name stands for a dot."""
    overrides = [override(key.replace("__", "."), value) for key, value in values.items()]
    return " ".join(["python -m srgan_lit.train", *map(shlex.quote, overrides)])


def literals(values: Any) -> Any:
    """``literal`` of every string in nested dicts and lists."""
    if isinstance(values, dict):
        return {key: literals(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [literals(value) for value in values]
    return literal(values) if isinstance(values, str) else values
