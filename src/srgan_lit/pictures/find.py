"""The files of a folder: training, testing and enlarging share this walk. No Pillow."""

import os
from pathlib import Path, PurePath

from srgan_lit.pictures import formats, video_files


def hidden(path: PurePath) -> bool:
    """Whether a relative path is hidden, or what macOS puts beside the files of an archive."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def files(folder: Path, *, besides: Path | None = None) -> list[Path]:
    """Every file below ``folder``, sorted by relative path.

    Hidden files and folders are passed over, and so is the folder ``besides``: results that are kept inside. Links to
    folders are followed, each folder once.
    """
    root = os.path.realpath(folder)
    paths, seen = [], {os.path.realpath(besides)} - {root} if besides else set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not hidden(PurePath(name)))
        paths += [Path(here, name) for name in names if not hidden(PurePath(name))]
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix())


def pictures(folder: Path, *, besides: Path | None = None) -> list[Path]:
    """Those of ``files`` that are called like pictures."""
    return [path for path in files(folder, besides=besides) if formats.is_picture(path)]


def others(folder: Path, *, besides: Path | None = None) -> list[tuple[Path, str]]:
    """The rest of ``files``, and of each why it is no picture to work on."""
    rest = [path for path in files(folder, besides=besides) if not formats.is_picture(path)]
    return [(path, _why_not(path.suffix.lower())) for path in rest]


def _why_not(suffix: str) -> str:
    if suffix in video_files.RESULTS:
        return "a video, which takes long: name it if it is meant"
    if suffix in formats.OTHERS:
        return f"{suffix[1:]} is not read: save it as png or jpg"
    return "no picture by its name"
