"""A folder for this process alone, removed when it ends. The next process removes what a killed one left."""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: folders of killed processes stay until it cleans up itself
    fcntl = None  # type: ignore[assignment]

_PREFIX = "srgan-app-"


class PrivateFolder:
    """A folder with a random name, which nobody else may read, in ``parent`` (None: where temporary files go).

    The folder is locked for as long as the process lives, so that a later one can tell what a killed one left. It is a
    context manager, which removes its own folder at the end.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, parent: Path | None) -> None:
        self._parent = Path(tempfile.gettempdir()) if parent is None else parent
        self._parent.mkdir(parents=True, exist_ok=True)
        _sweep(self._parent)
        self._path, self._lock = _create(self._parent)
        self._renewing = threading.Lock()

    def __enter__(self) -> "PrivateFolder":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._lock)

    def path(self) -> Path:
        """The folder; a new one, if it has been removed (some machines tidy up temporary files by their age).

        Raises:
            OSError: nothing can be written there any more.
        """
        with self._renewing:
            if not _is_same(self._lock, self._path):
                before, (self._path, self._lock) = self._lock, _create(self._parent)
                os.close(before)
            return self._path


def _create(parent: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        if fcntl is None:
            return path, os.open(os.devnull, os.O_RDONLY)
        # Between the two steps another process may take it for a leftover: then it is gone, or locked.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY)
            if _locked(lock) and _is_same(lock, path):
                return path, lock
            os.close(lock)


def _is_same(opened: int, path: Path) -> bool:
    """Whether ``path`` is still the folder that was opened, and no other of the same name."""
    if fcntl is None:
        return path.is_dir()
    try:
        return os.path.samestat(os.fstat(opened), path.lstat())
    except FileNotFoundError:
        return False


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process's, or a file system that knows no locks: then nothing is a leftover
        return False
    return True


def _sweep(parent: Path) -> None:
    """Remove the folders in ``parent`` of this user's processes that were killed."""
    if fcntl is None:
        return
    for path in _own_folders(parent):
        with contextlib.suppress(OSError):  # gone meanwhile
            folder = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if _locked(folder):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(folder)


def _own_folders(parent: Path) -> Iterator[Path]:
    for entry in os.scandir(parent):
        with contextlib.suppress(OSError):
            is_ours = entry.name.startswith(_PREFIX) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            if is_ours and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
