"""The packed cache: HR and LR of every picture, decoded once, memory-mapped as uint8. No torch.

A set's folder holds ``pixels.<token>.bin`` (of each picture HR, then LR, in the order of the sources) and
``index.json``, which names that file and is written last: without it there is no cache, so a kill in the
middle leaves none that looks whole. It is rebuilt when and only when the content of a source, the scale or
``VERSION`` changes (files are compared by size, times and inode, and by SHA-256 where those
differ). A lock lets one process pack and the others wait for it.
"""

import contextlib
import errno
import hashlib
import json
import logging
import mmap
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import platformdirs
from numpy.typing import NDArray

from srgan_lit.common import atomic_files, worker_processes
from srgan_lit.common.errors import SRGANError
from srgan_lit.data import sets
from srgan_lit.data.sets import Source
from srgan_lit.pictures import rgb8

_log = logging.getLogger(__name__)
# To be raised when the layout changes, or the pixels that decoding or shrinking give for the same file.
VERSION = 8

_POOL_FROM = 32 * 2**20  # bytes of pixels below which starting processes costs more than it saves


def default_folder() -> Path:
    """Where caches are kept unless ``data.cache`` says otherwise: the platform's place (Linux: ``~/.cache``)."""
    return platformdirs.user_cache_path("srgan_lit", appauthor=False)


class Packed:
    """A cache opened for reading: picture ``i`` is two views into a memory map that every process shares."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.names: list[str] = index["names"]
        digests = dict(zip(index["sources"], index["digests"], strict=True))
        self.digests = {name: " ".join(map(str, digests[name])) for name in self.names}  # SHA-256 of HR, and of LR
        self.contents: dict[str, str] = dict(
            zip(self.names, index["contents"], strict=True)
        )  # of HR, and of an LR file
        self.bad: dict[str, str] = index["bad"]  # name: why it is not here
        self.grey = np.array(index["grey"], dtype=bool)
        self.lr_sizes = np.array(index["lr_sizes"], dtype=np.int64).reshape(-1, 2)  # height, width
        self.scale: int = index["scale"]
        self._offsets: list[int] = index["offsets"]
        self._file, self._bytes = folder / index["pixels"], index["bytes"]
        self._pixels = self._map()

    def _map(self) -> NDArray[np.uint8]:
        if not self._bytes:
            return np.empty(0, dtype=np.uint8)
        if self._file.stat().st_size != self._bytes:
            raise OSError(f"{self._file} is not whole")
        with self._file.open("rb") as file:
            self._map_of_file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(self._map_of_file, dtype=np.uint8)

    def check_whole(self) -> None:
        """Raise if the file was cut since it was opened: reading beyond its end would end the process with SIGBUS.

        A file that was replaced or removed stays readable, so it is the mapped one that counts.

        Raises:
            SRGANError: it is shorter than it was.
        """
        if self._bytes and self._map_of_file.size() != self._bytes:
            raise SRGANError(f"{self._file}: cut while it was being read; the next start packs the pictures anew")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None, "_map_of_file": None}  # a new process maps the file itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pixels = self._map()

    def __len__(self) -> int:
        return len(self.names)

    def hr(self, index: int) -> NDArray[np.uint8]:
        """(scale*h, scale*w, 3), read-only."""
        height, width = self.lr_sizes[index].tolist()
        shape, start = (height * self.scale, width * self.scale, 3), self._offsets[index]
        return self._pixels[start : start + shape[0] * shape[1] * 3].reshape(shape)

    def lr(self, index: int) -> NDArray[np.uint8]:
        """(h, w, 3), read-only."""
        height, width = self.lr_sizes[index].tolist()
        start = self._offsets[index] + height * width * 3 * self.scale**2
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def pair(self, index: int) -> rgb8.Pair:
        """HR and LR of picture ``index``."""
        self.check_whole()
        name = self.names[index]
        content = self.contents[name].partition(" ")[0]
        return rgb8.Pair(name=name, lr=self.lr(index), hr=self.hr(index), grey=bool(self.grey[index]), content=content)


def open_packed(sources: Sequence[Source], *, scale: int, label: str, cache: str | os.PathLike[str] | None) -> Packed:
    """The cache of these sources, packed first where it is missing or out of date.

    Args:
        sources: the pictures; names must be unique.
        scale: of LR.
        label: what distinguishes this set from others in the same ``cache``: its folder's name.
        cache: folder of all caches; None for ``default_folder()``.

    Raises:
        SRGANError: the cache cannot be written, or there is no space for it. Pictures that are no good raise
            nothing here: they are in ``bad``.
    """
    folder = Path(cache).expanduser() if cache is not None else default_folder()
    folder = folder / f"{label}-x{scale}"
    if (ready := _open_current(folder, sources, scale)) is not None:
        return ready
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if (ready := _open_current(folder, sources, scale)) is not None:  # another process packed it meanwhile
                return ready
            if (index := _refreshed(folder, sources, scale)) is None:
                index = _pack(folder, sources, scale)
            _commit(folder, index)
            return Packed(folder, index)
    except OSError as error:
        raise SRGANError(
            f"{folder}: cannot write the packed cache ({error.strerror or error}); "
            "name a folder for it with data.cache=<folder>"
        ) from error


def _open_current(folder: Path, sources: Sequence[Source], scale: int) -> Packed | None:
    """The cache as it is, if it was made from exactly these files in their present state; else None."""
    index = _read_index(folder)
    if (
        index is None
        or not _same_kind(index, sources, scale)
        or index["stamps"] != [_stamps(source) for source in sources]
        or not _bad_ones_still_are(index, sources)
    ):
        return None
    try:
        return Packed(folder, index)
    except OSError:  # replaced by another process between the two reads, or removed by hand
        return None


def _refreshed(folder: Path, sources: Sequence[Source], scale: int) -> dict[str, Any] | None:
    """The index with new stamps, if files were only copied, touched or moved: their content is the same."""
    index = _read_index(folder)
    if index is None or not _same_kind(index, sources, scale):
        return None
    try:
        Packed(folder, index)
    except OSError:
        return None
    for at, source in enumerate(sources):
        stamps = _stamps(source)
        if stamps != index["stamps"][at] and (not all(stamps) or _digests(source) != index["digests"][at]):
            return None
        index["stamps"][at] = stamps
    return index if _bad_ones_still_are(index, sources) else None


def _bad_ones_still_are(index: dict[str, Any], sources: Sequence[Source]) -> bool:
    """Whether no picture that could not be read can be read now: memory, a disk or a decoder may have been missing."""
    for source in sources:
        if source.name in index["bad"]:
            with contextlib.suppress(SRGANError):
                sets.load_pair(source, index["scale"])
                return False
    return True


def _read_index(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _same_kind(index: dict[str, Any], sources: Sequence[Source], scale: int) -> bool:
    return (
        index.get("version") == VERSION
        and index["scale"] == scale
        and index["sources"] == [source.name for source in sources]
    )


def _files(source: Source) -> list[Path]:
    return [path for path in (source.path, source.lr_path) if path is not None]


def _stamps(source: Source) -> list[list[int] | None]:
    """Properties that change with a file's content, without reading it. The change time cannot be set by hand."""
    stamps: list[list[int] | None] = []
    for path in _files(source):
        try:
            stat = path.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append([stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino])
    return stamps


def _digests(source: Source) -> list[str | None]:
    digests: list[str | None] = []
    for path in _files(source):
        try:
            if not path.is_file():  # to open a FIFO would wait for ever
                raise OSError
            with path.open("rb") as opened:
                digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
        except OSError:
            digests.append(None)
    return digests


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One picture to decode into ``size`` bytes of ``file`` at ``offset``."""

    source: Source
    file: Path
    offset: int
    size: int
    scale: int


@dataclass(frozen=True, kw_only=True)
class _Done:
    digests: list[str | None]
    lr_size: tuple[int, ...] = ()
    grey: bool = False
    content: str = ""
    wrong: str | None = None


def _decode(task: _Task) -> _Done:
    """Runs in a process of its own."""
    digests = _digests(task.source)
    try:
        pair = sets.load_pair(task.source, task.scale)
        if pair.hr.nbytes + pair.lr.nbytes != task.size:
            raise SRGANError(f"{task.source.path}: its header and its pixels disagree about the size")
    except SRGANError as error:
        return _Done(digests=digests, wrong=str(error))
    with task.file.open("rb+") as file:
        file.seek(task.offset)
        file.write(np.ascontiguousarray(pair.hr).data)
        file.write(np.ascontiguousarray(pair.lr).data)
    content = pair.content if task.source.lr_path is None else f"{pair.content} {rgb8.content(pair.lr)}"
    return _Done(digests=digests, lr_size=pair.lr.shape[:2], grey=pair.grey, content=content)


def _pack(folder: Path, sources: Sequence[Source], scale: int) -> dict[str, Any]:
    """Decode every source into a new pixel file; returns the index for it."""
    for old in folder.glob("pixels.*.part"):  # of a process that was killed: we hold the lock
        old.unlink()
    pixels = folder / f"pixels.{secrets.token_hex(8)}.bin"
    part = pixels.with_suffix(".part")
    stamps = [_stamps(source) for source in sources]  # before reading: a file that changes meanwhile is stale
    tasks: list[_Task] = []
    bad: dict[str, str] = {}
    needed = 0
    for source in sources:
        try:
            height, width = sets.size_of(source.path)
        except SRGANError as error:
            bad[source.name] = str(error)
            continue
        size = (height // scale) * (width // scale) * 3 * (scale**2 + 1)  # the same if a camera turned the picture
        tasks.append(_Task(source=source, file=part, offset=needed, size=size, scale=scale))
        needed += size
    if (free := shutil.disk_usage(folder).free) < needed:
        raise SRGANError(_no_space(folder, needed, free))
    digests: dict[str, list[str | None]] = {}
    good: list[tuple[_Task, _Done]] = []
    try:
        with part.open("wb") as file:
            file.truncate(needed)
        for task, done in worker_processes.over(_decode, tasks, doing="packing", in_processes=needed >= _POOL_FROM):
            digests[task.source.name] = done.digests
            if done.wrong is None:
                good.append((task, done))
            else:
                bad[task.source.name] = done.wrong
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(pixels)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SRGANError(_no_space(folder, needed, shutil.disk_usage(folder).free)) from error
        raise
    finally:
        part.unlink(missing_ok=True)
    return {
        "version": VERSION,
        "scale": scale,
        "pixels": pixels.name,
        "bytes": needed,
        "sources": [source.name for source in sources],
        "stamps": stamps,
        "digests": [digests.get(source.name) or _digests(source) for source in sources],
        "bad": bad,
        "names": [task.source.name for task, _ in good],
        "offsets": [task.offset for task, _ in good],
        "lr_sizes": [done.lr_size for _, done in good],
        "grey": [done.grey for _, done in good],
        "contents": [done.content for _, done in good],
    }


def _no_space(folder: Path, needed: int, free: int) -> str:
    return (
        f"{folder}: the packed cache needs {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; "
        "name a folder on a larger disk with data.cache=<folder>"
    )


def _commit(folder: Path, index: dict[str, Any]) -> None:
    atomic_files.write_text(folder / "index.json", json.dumps(index))
    for old in folder.glob("pixels.*.bin"):  # a process that has one mapped can go on reading it
        if old.name != index["pixels"]:
            old.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = filelock.FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        _log.warning("waiting for another process that is packing %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
