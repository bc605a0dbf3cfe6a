"""``learnt_from.json`` of a run directory: what its generators were trained on and validated with, and scores on that.

Pictures are known by what they show (``rgb8.content``), whatever their names and formats.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from srgan_lit.common.errors import SRGANError

FILE = "learnt_from.json"
ROLES = ("trained", "validated")


@dataclass(frozen=True, kw_only=True)
class LearntFrom:
    """Contents of the pictures that a generator was trained on, and that its run validated with.

    Those of the runs that it started from are among them. ``chosen``: a validation chose it among others.
    """

    trained: frozenset[str] = frozenset()
    validated: frozenset[str] = frozenset()
    chosen: bool = False


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What the file holds: by role, what each picture shows, by name; contents of earlier runs' pictures; digests.

    ``pictures`` is of runs that began when files were compared: SHA-256 by name, whatever they were for.
    """

    trained: dict[str, str] = dataclasses.field(default_factory=dict)
    validated: dict[str, str] = dataclasses.field(default_factory=dict)
    inherited: dict[str, list[str]] | None = None
    pictures: dict[str, str] = dataclasses.field(default_factory=dict)
    perceptual: str | None = None  # SHA-256 of VGG's weights and of LPIPS's, or the names of those
    lpips: str | None = None


def read(path: Path) -> Record:
    """The record at ``path``.

    Raises:
        OSError, ValueError: it cannot be read, or holds something else.
    """
    try:
        return pydantic.TypeAdapter(Record).validate_json(path.read_bytes(), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise ValueError(": ".join([*map(str, first["loc"]), first["msg"]])) from error


def of_model(path: Path) -> LearntFrom:
    """What is on record for a run directory, or for a generator file or checkpoint in one; nothing for others.

    Raises:
        SRGANError: the record is damaged.
    """
    folders = [path, path.parent, *([path.parent.parent] if path.suffix == ".ckpt" else [])]
    record = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if record is None:
        return LearntFrom()
    try:
        content = read(record)
    except (OSError, ValueError) as error:
        raise SRGANError(
            f"{record}: damaged, so that nobody can tell what was trained on ({error}); a copy of the generator file "
            "outside of this folder is taken without it"
        ) from error
    of_role = {
        role: frozenset(each.partition(" ")[0] for each in getattr(content, role).values())
        | frozenset((content.inherited or {}).get(role, []))
        for role in ROLES
    }
    return LearntFrom(**of_role, chosen=path.name == "best.safetensors")


def inherited(path: Path) -> dict[str, list[str]]:
    """The same as a run that starts from this model records it."""
    learnt = of_model(path)
    return {role: sorted(getattr(learnt, role)) for role in ROLES}


def roles(record: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What each picture is for, and shows, by name."""
    return {name: (role, content) for role in ROLES for name, content in record.get(role, {}).items()}
