"""Parts from a user's own package: what a mapping with ``_target_`` in their configuration names.

Hydra's ``instantiate`` makes them: the keys beside ``_target_`` are keyword arguments, and with ``_partial_: true`` a
function is not called yet. Such mappings come from a configuration alone, which its user wrote: never from a generator
file or a checkpoint, and from the ``config.yaml`` of a run only where the command line vouches (``training.resume``).
"""

import dataclasses
import importlib
import inspect
import operator
from collections.abc import Mapping
from typing import Any

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import TrainConfig


def instantiate(settings: Mapping[str, Any], key: str, **arguments: Any) -> Any:
    """What ``settings``, the value of ``key``, names, made with its own keys and ``arguments``.

    Raises:
        UsageError: there is no ``_target_``, it cannot be imported, or it raises.
    """
    import hydra.utils

    target = check(settings, key)
    try:
        return hydra.utils.instantiate(dict(settings), **arguments, _convert_="all")
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, SRGANError):
            raise cause from error
        raise UsageError(f"{key}: {target} fails ({_reason(cause)}); HYDRA_FULL_ERROR=1 shows where") from error


def check(settings: Mapping[str, Any], key: str, *, kind: type | None = None) -> str:
    """The name of what ``settings``, the value of ``key``, names: it can be imported, and takes the keys beside it.

    Nothing is made yet. With ``kind`` it must be a class of that kind.

    Raises:
        UsageError: it is otherwise.
    """
    import hydra.utils

    target = settings.get("_target_")
    if not isinstance(target, str) or "." not in target:
        raise UsageError(f"{key} needs the name of a part of your own: {key}._target_=my_package.MyPart")
    if "${" in repr(settings):  # resolved already, so it is text; Hydra would take it for a reference all the same
        raise UsageError(f"{key}: a text in it has ${{, which cannot be given to {target}; write it otherwise")
    try:
        part = hydra.utils.get_object(target)
    except Exception as error:  # a module that is imported may raise anything
        raise UsageError(
            f"{key}._target_={target} cannot be imported ({_reason(error)}); install its package, or call "
            "python -m srgan_lit.train in the folder that it is in"
        ) from error
    if kind is not None:
        if not (isinstance(part, type) and issubclass(part, kind)):
            raise UsageError(f"{key}._target_={target} is no {kind.__name__} of {kind.__module__.partition('.')[0]}")
        given = {name: value for name, value in settings.items() if not name.startswith("_")}
        try:
            inspect.signature(part).bind(**given)
        except TypeError as error:
            raise UsageError(f"{key}: {target}: {error}") from error
    return target


def named_class(text: str | None) -> type | None:
    """The class that ``package.module:Class`` names, on a user's own command line, never in a file; of None none.

    Raises:
        UsageError: it names none, or cannot be imported.
    """
    if text is None:
        return None
    module, _, name = text.partition(":")
    if not module or not name:
        raise UsageError(f"--network {text}: names a class as package.module:Class")
    try:
        found = operator.attrgetter(name)(importlib.import_module(module))
    except Exception as error:  # a module that is imported may raise anything
        raise UsageError(
            f"--network {text}: cannot be imported ({_reason(error)}); install its package, or call python -m "
            "srgan_lit.… in the folder that it is in"
        ) from error
    if not isinstance(found, type):
        raise UsageError(f"--network {text}: a {type(found).__name__}, no class")
    return found


def targets(values: Any, key: str = "") -> dict[str, str]:
    """Every ``_target_`` in nested dicts and lists ``values``, however deep, by the key of its mapping."""
    named = {}
    if isinstance(values, Mapping):
        if "_target_" in values:
            named[key] = str(values["_target_"])
        values = values.items()
    elif isinstance(values, list | tuple):
        values = enumerate(values)
    else:
        return named
    for inner, value in values:
        named |= targets(value, f"{key}.{inner}" if key else str(inner))
    return named


def vouching(config: TrainConfig) -> dict[str, list[str]]:
    """For a printed command that resumes the run of ``config``, which its user began: the key that names its parts."""
    names = sorted(set(targets(dataclasses.asdict(config)).values()))
    return {"trust_targets": names} if names else {}


def _reason(error: BaseException) -> str:
    """Of a chain of errors the first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())
