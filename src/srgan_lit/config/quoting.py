"""Overrides as a user types them: whatever a value holds, the shell and Hydra give it back. No torch."""

import re
import shlex
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from srgan_lit.common.errors import UsageError

_PLAIN = re.compile(r"[\w./:+%-]*[/.][\w./:+%-]*|(?!(?:null|true|false|nan|inf)$)[a-z]\w*", re.ASCII | re.IGNORECASE)
_GRAMMAR = "()[]{},='\"\\$"  # what values are made of, in Hydra's grammar, besides words
_KEY = re.compile(r"\+{0,2}\w[\w./@-]*")
_NUMBER = re.compile(r"[-+\d._eE]*")


def literal(text: str) -> str:
    """``text`` so that OmegaConf takes ``${…}`` in it as it stands."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def override(key: str, value: object) -> str:
    """``key=value`` for Hydra, without a shell between. Text that Hydra would read as anything else gets quotes."""
    return f"{key}={_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_value, value))}]"
    text = str(value)
    if not isinstance(value, str | Path) or (_PLAIN.fullmatch(text) and not _NUMBER.fullmatch(text)):
        return text
    return str(QuotedString(literal(text), Quote.double).with_quotes())


def as_meant(argument: str) -> str:
    """An argument for Hydra: ``~/`` is the home folder, and letters that its grammar lacks (``/data/ünï``) get quotes.

    Raises:
        UsageError: Hydra cannot read it, because of what has a meaning in its grammar, such as a bracket.
    """
    key, is_set, value = argument.partition("=")
    if not is_set or not _KEY.fullmatch(key):
        return argument
    if value.startswith("~/"):
        value = str(Path(value).expanduser())
    try:
        OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException as error:
        if set(value) & set(_GRAMMAR):
            raise unreadable(argument) from error
        return override(key, value)
    return f"{key}={value}"


def unreadable(argument: str) -> UsageError:
    """The refusal of an argument that Hydra cannot read: names the letter, and how the argument is to be written."""
    key, _, value = argument.partition("=")
    strange = next((letter for letter in value if letter in _GRAMMAR), "some letter")
    return UsageError(
        f"cannot read {argument!r}: arguments are key=value, and {strange} has a meaning of its own in a value; in "
        f"quotes it is written {shlex.quote(override(key, value))}"
    )


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
