"""Files appear whole or not at all: written under a temporary name beside the target, then moved."""

import contextlib
import errno
import itertools
import logging
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, which neither needs the locks (an open file cannot be removed) nor has them
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{8}\.part(?P<suffix>\.[^.]*)?", re.DOTALL)


def _short(stem: str) -> str:
    """Its first letters, 100 bytes at most: a name may have 255, and a letter three."""
    while len(os.fsencode(stem)) > 100:
        stem = stem[:-1]
    return stem


def _name(target: Path, token: str) -> str:
    return f".{_short(target.stem)}.{token}.part{target.suffix}"


@contextlib.contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it becomes ``target``.

    The temporary name is hidden and ends with the target's own suffix, so that writers which go by the
    suffix work. The content is on the disk (fsync) before the move. If the block raises, the temporary
    file is removed and whatever stood at ``target`` is untouched; an ``OSError`` that names no file, or the
    temporary one, names the target then. What killed processes left of the same target is removed first.
    Permissions are those of a newly made file (umask), not mkstemp's 0600.
    """
    target = Path(target)
    temporary = target.with_name(_name(target, secrets.token_hex(4)))
    try:
        sweep(target.parent, of=target)
        with _made(temporary):
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):  # a disk that is gone: the first error is the one to tell
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary), temporary):
            error.filename = str(target)
        raise


@contextlib.contextmanager
def _made(temporary: Path) -> Iterator[None]:
    """Create an empty file and lock it while this process lives, so that ``sweep`` can tell what a killed one left."""
    with temporary.open("xb") as file:
        if fcntl is not None:
            _locked(file)
            yield
            return
    yield  # Windows moves no open file


def _locked(file: IO[bytes]) -> bool:
    """Lock ``file`` if no other process has; where the file system knows no locks, it counts as locked by others."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(folder: Path, *, of: Path | None = None) -> None:
    """Remove the temporary files in ``folder`` (``of`` one target, or all) whose writers were killed."""
    if fcntl is None or not folder.is_dir():
        return
    for path in folder.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match is None or (of and (match["stem"], match["suffix"] or "") != (_short(of.stem), of.suffix)):
            continue
        with contextlib.suppress(OSError), path.open("rb") as file:  # gone meanwhile, or not ours
            if _locked(file):
                path.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Keep what cannot be used, out of the way: as ``<name>.damaged``, or ``.damaged-2`` and so on. It is logged."""
    names = (f"{path.name}.damaged{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
    kept = next(kept for name in names if not os.path.lexists(kept := path.with_name(name)))
    path.replace(kept)
    log.warning("%s cannot be used, and is kept as %s", path, kept.name)


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` (UTF-8) to ``target``, whole or not at all.

    What a file's name holds of bytes that are no UTF-8 is written as ``\\udcff``, which JSON reads back.
    """
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def create_text(target: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` (UTF-8) to a new ``target``, whole or not at all. Of several processes at once, one succeeds.

    Raises:
        FileExistsError: ``target`` exists.
    """
    target = Path(target)
    temporary = target.with_name(_name(target, secrets.token_hex(4)))
    try:
        with _made(temporary):
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
            os.link(temporary, target)  # other than a move, this replaces nothing
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        with target.open("x", encoding="utf-8", errors="backslashreplace") as file:  # a file system without hard links
            file.write(text)
    finally:
        temporary.unlink(missing_ok=True)
