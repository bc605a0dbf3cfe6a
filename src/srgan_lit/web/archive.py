"""Many files as one ZIP, made while it is output: nothing is held in memory or written to the disk."""

import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_PIECE = 256 * 1024
_NOT_IN_NAMES = str.maketrans(dict.fromkeys('<>:"/\\|?*', "_"))  # not allowed on Windows


class _Output:
    """A file that ``zipfile`` writes to. ``take`` returns what was written since it was last called."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def pieces(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """Yield a ZIP of ``files`` (name, path), stored uncompressed; a name that occurs again gets a number.

    A file that was removed meanwhile is left out.
    """
    output = _Output()
    taken: set[str] = set()
    with zipfile.ZipFile(output, "w") as archive:  # type: ignore[call-overload]
        for name, path in files:
            try:
                file = path.open("rb")
            except FileNotFoundError:
                continue
            with file:
                entry = zipfile.ZipInfo(_free(name.translate(_NOT_IN_NAMES), taken), time.localtime()[:6])
                entry.external_attr = 0o644 << 16
                entry.file_size = path.stat().st_size  # zipfile decides by it whether to write ZIP64
                with archive.open(entry, "w") as member:
                    while piece := file.read(_PIECE):
                        member.write(piece)
                        yield output.take()
            yield output.take()
    yield output.take()


def _free(name: str, taken: set[str]) -> str:
    stem, dot, suffix = name.rpartition(".")
    number = 2
    free = name
    while free.lower() in taken:
        free = f"{stem} ({number}){dot}{suffix}"
        number += 1
    taken.add(free.lower())
    return free
