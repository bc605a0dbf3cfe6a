"""Unpacking pictures from a zip or tar archive that may be damaged or hostile. No torch."""

import contextlib
import errno
import functools
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from tqdm import tqdm

from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import find, formats

# Pictures are compressed already: an archive of them does not grow much, and a bomb does.
GROWTH = 20
ALWAYS_ALLOWED = 100 * 2**20  # bytes
_BLOCK = 2**20
_LONGEST_HEADER = 2**16  # bytes: tarfile reads a long name, or an extended header, into memory
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_SPARSE = "a sparse file, which no archive of pictures needs"
# What the readers raise for damaged archives, besides OSErrors that no system call made.
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error, LookupError, ValueError,
    OverflowError,
)  # fmt: skip


class _Refused(Exception):
    """Of a member; tarfile lets it through, as it does none of its own errors."""


class _Member(tarfile.TarInfo):
    """A member of a tar, refused if its header claims to go on for megabytes.

    And if it is sparse: tarfile keeps its map of holes in memory, many times its bytes in the archive.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        """Called for every header before what follows it is read."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and member.size > _LONGEST_HEADER:
            raise _Refused(f"a header of {member.size} bytes")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise _Refused(_SPARSE)
        return member

    def _proc_gnusparse_10(self, *_: object) -> None:
        """Called before the map in what follows an extended header is read; other maps are inside such a header."""
        raise _Refused(_SPARSE)


class _Budget:
    """How many bytes may still come out of an archive."""

    def __init__(self, archive: Path) -> None:
        self.archive, self.size = archive, archive.stat().st_size
        self.allowed = self.left = max(GROWTH * self.size, ALWAYS_ALLOWED)

    def spend(self, count: int) -> None:
        """Take ``count`` bytes off; raises SRGANError where there are no more."""
        self.left -= count
        if self.left < 0:
            raise SRGANError(
                f"{self.archive}: more than {self.allowed / 1e6:.0f} MB come out of {self.size / 1e6:.1f} MB; "
                "no archive of pictures grows so much"
            )


def check_kind(archive: Path) -> None:
    """Refuse a file that is no archive.

    Raises:
        SRGANError: it is neither zip nor tar.
    """
    if zipfile.is_zipfile(archive) or _is_tar(archive):
        return
    with archive.open("rb") as opened:
        first = opened.read(1024)
    if first.startswith(b"PK"):
        raise SRGANError(f"{archive}: a zip archive whose end is missing: fetch it again")
    said = " but a web page: the file is gone, or must be fetched in a browser" if b"<html" in first.lower() else ""
    raise SRGANError(f"{archive}: no zip or tar archive{said}")


def _is_tar(archive: Path) -> bool:
    try:
        tarfile.open(archive, tarinfo=_Member).close()  # ``tarfile.is_tarfile`` would read the map of a sparse member
    except _Refused:
        return True
    except tarfile.TarError:
        return False
    return True


def unpack(archive: Path, target: Path) -> int:
    """Write the picture files in ``archive`` below the new folder ``target``; returns how many.

    Other files and hidden ones are passed over. Nothing is written outside ``target``, and no link.

    Raises:
        SRGANError: no zip or tar; damaged, encrypted; a member is a link or a device, leaves the target, or has
            the name of another; or more comes out than ``GROWTH`` times the archive's size. What was written by
            then stays in ``target``.
        OSError: the target cannot be written.
    """
    budget, count = _Budget(archive), 0
    target.mkdir()
    with tqdm(desc=f"unpacking {archive.name}", unit="B", unit_scale=True, disable=None) as bar:
        for path, opened in _readable(archive, _members(archive, budget)):
            with opened, _new(target / path, archive) as file:
                for block in _readable(archive, iter(functools.partial(opened.read, _BLOCK), b"")):
                    budget.spend(len(block))
                    file.write(block)
                    bar.update(len(block))
            count += 1
    return count


def _new(place: Path, archive: Path) -> IO[bytes]:
    """A new file to write; what stands in its way came out of the same archive."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return place.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise SRGANError(f"{archive}: holds two files of one name: {place.name!r}") from error


Item = TypeVar("Item")


def _readable(archive: Path, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items; turn what the archive's readers raise into SRGANError."""
    try:
        yield from items
    except SRGANError:
        raise
    except _Refused as error:
        raise SRGANError(f"{archive}: holds {error}") from error
    except _DAMAGED as error:
        raise SRGANError(f"{archive}: damaged or not whole ({error or 'it ends too soon'}); fetch it again") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # without a number: decompressors'; with this: a seek to nowhere
            raise
        raise SRGANError(f"{archive}: damaged or not whole ({error}); fetch it again") from error
    except RuntimeError as error:  # zipfile's: encrypted, or an unknown method
        raise SRGANError(f"{archive}: cannot be unpacked ({error})") from error


def _members(archive: Path, budget: _Budget) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Yield the members to unpack, opened one after the other. Refuses what must not be unpacked."""
    check_kind(archive)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened_zip:
            for entry in opened_zip.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the archive was not made on Unix
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise SRGANError(f"{archive}: {entry.filename!r} is a link or a device")
                path = _safe(entry.filename, archive)
                if not entry.is_dir() and _unpacks(path):
                    yield path, opened_zip.open(entry)
    else:
        with tarfile.open(archive, tarinfo=_Member) as opened_tar:
            while member := opened_tar.next():
                opened_tar.members.clear()  # type: ignore[attr-defined]  # else all are kept: a kilobyte for each
                budget.spend(tarfile.BLOCKSIZE)
                if member.issparse():
                    raise _Refused(_SPARSE)
                if not (member.isreg() or member.isdir()):
                    raise SRGANError(f"{archive}: {member.name!r} is a link or a device")
                path = _safe(member.name, archive)
                if member.isreg() and _unpacks(path):
                    file = opened_tar.extractfile(member)
                    assert file is not None
                    yield path, file
                else:
                    budget.spend(member.size)  # what is passed over is decompressed too


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1]):
        raise SRGANError(f"{archive}: {name!r} would be written outside of the folder it is unpacked to")
    return path


def _unpacks(path: PurePosixPath) -> bool:
    return formats.is_picture(path) and not find.hidden(path)


@contextlib.contextmanager
def unpacked(archives: Sequence[Path], target: Path) -> Iterator[list[Path]]:
    """Yield new folders, in one beside ``target``, with the pictures of each archive; they are removed at the end.

    The caller moves pictures from them to ``target``. What an interrupted run left is removed first.
    """
    staging = staging_of(target)
    tidy(target)
    try:
        staging.mkdir()
        folders = [staging / str(number) for number in range(len(archives))]
        for archive, folder in zip(archives, folders, strict=True):
            unpack(archive, folder)
        yield folders
    finally:
        tidy(target)


def staging_of(target: Path) -> Path:
    """The folder into which an archive is unpacked before it is moved to ``target``."""
    return target.with_name(f".{target.name}.unpacking")


def tidy(target: Path) -> None:
    """Remove what an interrupted run left beside ``target``."""
    shutil.rmtree(staging_of(target), ignore_errors=True)
