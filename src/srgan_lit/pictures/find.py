"""The files of a folder: training, testing and enlarging share this walk. No Pillow."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from srgan_lit.pictures import formats, video_files

_NAMED = 5  # files of each reason


def hidden(path: PurePath) -> bool:
    """Whether a relative path is hidden, or one that macOS adds to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What lies at and below a folder, each sorted by its relative path.

    Attributes:
        pictures: files that are called like pictures.
        others: the other files, each with the reason why it is no picture to work on.
        unreadable: one line for each folder whose files cannot be listed, with the reason.
    """

    pictures: list[Path]
    others: list[tuple[Path, str]]
    unreadable: list[str]


def contents(folder: Path, *, besides: Path | None = None) -> Contents:
    """All that lies at and below ``folder``, by one walk.

    Hidden files and folders are passed over, and so is the folder ``besides``: results that are kept inside. Links to
    folders are followed, each folder once.
    """
    root = os.path.realpath(folder)
    visited = {os.path.realpath(besides)} - {root} if besides else set()
    files: list[Path] = []
    refusals: list[OSError] = []
    for here, folders, names in os.walk(folder, followlinks=True, onerror=refusals.append):
        real = os.path.realpath(here)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not hidden(PurePath(name)))
        files += [Path(here, name) for name in names if not hidden(PurePath(name))]
    files.sort(key=lambda path: path.relative_to(folder).as_posix())
    return Contents(
        pictures=[path for path in files if formats.is_picture(path)],
        others=[(path, _why_not(path.suffix.lower())) for path in files if not formats.is_picture(path)],
        unreadable=[unreadable_line(error) for error in sorted(refusals, key=lambda error: str(error.filename))],
    )


def unreadable_line(error: OSError) -> str:
    """The line for a user about the folder that ``error`` names."""
    return f"{error.filename}: this folder cannot be read ({error.strerror or error})"


def named(passed_over: Sequence[tuple[Path, str]]) -> str:
    """``Contents.others`` in one line: the first of each reason by name, and how many more there are."""
    parts: list[str] = []
    for why, group in itertools.groupby(sorted(passed_over, key=lambda each: each[1]), lambda each: each[1]):
        names = [path.name for path, _ in group]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        parts.append(f"{', '.join(names[:_NAMED])}{more} ({why})")
    return "; ".join(parts)


def _why_not(suffix: str) -> str:
    if suffix in video_files.RESULTS:
        return "a video, which takes long: name it if it is meant"
    if suffix in formats.OTHERS:
        return f"{suffix[1:]} is not read: save it as png or jpg"
    return "no picture by its name"
