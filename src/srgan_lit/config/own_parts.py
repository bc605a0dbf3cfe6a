"""Parts from a user's own package: what a mapping with ``_target_`` in their configuration names.

Hydra's ``instantiate`` makes them: the keys beside ``_target_`` are keyword arguments, and with ``_partial_: true`` a
function is not called yet. Such mappings come from a configuration alone, which its user wrote: never from a generator
file or a checkpoint.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from srgan_lit.common.errors import SRGANError, UsageError


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


def _reason(error: BaseException) -> str:
    """Of a chain of errors the first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())
