"""The files of a folder: training, testing and enlarging share this walk. No Pillow."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from srgan_lit.pictures import formats, video_files

_NAMED = 5  # files of each reason


def hidden(path: PurePath) -> bool:
    """Whether a relative path is hidden, or what macOS puts beside the files of an archive."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _walk(folder: Path, besides: Path | None) -> tuple[list[Path], list[tuple[Path, str]]]:
    """``files`` and ``unreadable`` of a folder."""
    root = os.path.realpath(folder)
    paths, seen = [], {os.path.realpath(besides)} - {root} if besides else set()
    refused: list[OSError] = []
    for here, folders, names in os.walk(folder, followlinks=True, onerror=refused.append):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not hidden(PurePath(name)))
        paths += [Path(here, name) for name in names if not hidden(PurePath(name))]
    paths.sort(key=lambda path: path.relative_to(folder).as_posix())
    return paths, sorted((Path(error.filename), error.strerror or str(error)) for error in refused)


def files(folder: Path, *, besides: Path | None = None) -> list[Path]:
    """Every file below ``folder``, sorted by relative path.

    Hidden files and folders are passed over, and so is the folder ``besides``: results that are kept inside. Links to
    folders are followed, each folder once. What cannot be listed is told by ``unreadable``.
    """
    return _walk(folder, besides)[0]


def unreadable(folder: Path, *, besides: Path | None = None) -> list[tuple[Path, str]]:
    """The folders at or below ``folder`` whose files cannot be listed, and of each why, sorted."""
    return _walk(folder, besides)[1]


def pictures(folder: Path, *, besides: Path | None = None) -> list[Path]:
    """Those of ``files`` that are called like pictures."""
    return [path for path in files(folder, besides=besides) if formats.is_picture(path)]


def others(folder: Path, *, besides: Path | None = None) -> list[tuple[Path, str]]:
    """The rest of ``files``, and of each why it is no picture to work on."""
    rest = [path for path in files(folder, besides=besides) if not formats.is_picture(path)]
    return [(path, _why_not(path.suffix.lower())) for path in rest]


def named(passed_over: Sequence[tuple[Path, str]]) -> str:
    """What ``others`` returns, in one line: the first of each reason by name, and how many more there are."""
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
