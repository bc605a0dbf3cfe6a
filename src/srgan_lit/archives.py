"""Pictures out of a zip or tar archive that may be damaged or hostile. No torch."""

import contextlib
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from srgan_lit.errors import SRGANError
from srgan_lit.pictures import SUFFIXES

# Pictures are compressed already: an archive of them does not grow much, and a bomb does.
GROWTH = 20
ALWAYS_ALLOWED = 100 * 2**20  # bytes
_BLOCK = 2**20


def unpack(archive: Path, target: Path) -> int:
    """Write the picture files in ``archive`` below the new folder ``target``; returns how many.

    Other files and hidden ones are passed over. Nothing is written outside ``target``, and no link.

    Raises:
        SRGANError: no zip or tar; damaged, encrypted; a member is a link or a device, or leaves the target; or
            more comes out than ``GROWTH`` times the archive's size. What was written by then stays in ``target``.
    """
    allowed = max(GROWTH * archive.stat().st_size, ALWAYS_ALLOWED)
    count = written = 0
    target.mkdir()
    try:
        with tqdm(desc=f"unpacking {archive.name}", unit="B", unit_scale=True, disable=None) as bar:
            for path, opened in _members(archive):
                place = target / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened, place.open("wb") as file:
                    while block := opened.read(_BLOCK):
                        written += len(block)
                        if written > allowed:
                            raise SRGANError(
                                f"{archive}: more than {allowed / 1e6:.0f} MB come out of "
                                f"{archive.stat().st_size / 1e6:.1f} MB; no archive of pictures grows so much"
                            )
                        file.write(block)
                        bar.update(len(block))
                count += 1
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise SRGANError(f"{archive}: damaged or not whole ({error or 'it ends too soon'}); fetch it again") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile's: encrypted, or an unknown method
        raise SRGANError(f"{archive}: cannot be unpacked ({error})") from error
    return count


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """The wanted members, opened one after the other; refuses what must not be unpacked."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened_zip:
            for entry in opened_zip.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the archive was not made on Unix
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise SRGANError(f"{archive}: {entry.filename!r} is a link or a device")
                path = _safe(entry.filename, archive)
                if not entry.is_dir() and _wanted(path):
                    yield path, opened_zip.open(entry)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened_tar:
            for member in opened_tar:
                if not (member.isreg() or member.isdir()):
                    raise SRGANError(f"{archive}: {member.name!r} is a link or a device")
                path = _safe(member.name, archive)
                if member.isreg() and _wanted(path):
                    file = opened_tar.extractfile(member)
                    assert file is not None
                    yield path, file
    else:
        raise SRGANError(f"{archive}: no zip or tar archive")


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1]):
        raise SRGANError(f"{archive}: {name!r} would be written outside of the folder it is unpacked to")
    return path


def _wanted(path: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


@contextlib.contextmanager
def unpacked(archive: Path, target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target`` with the archive's pictures; it is removed at the end.

    Move what is wanted of it to ``target``. What an interrupted run left is removed first.
    """
    staging = staging_of(target)
    tidy(target)
    try:
        unpack(archive, staging)
        yield staging
    finally:
        tidy(target)


def staging_of(target: Path) -> Path:
    """Where an archive is unpacked before ``target`` comes into being."""
    return target.with_name(f".{target.name}.unpacking")


def tidy(target: Path) -> None:
    """Remove what an interrupted run left beside ``target``."""
    shutil.rmtree(staging_of(target), ignore_errors=True)
