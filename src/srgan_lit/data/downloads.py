"""Where CUFED and CUFED5 are to be had, and fetching archives from there or from any link. gdown knows Google Drive."""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.data import archives

_DRIVE = "https://drive.google.com"
_SECONDS = 60  # without a byte, until a server is given up
_RETRIES = 3  # of a transfer that was interrupted, which goes on where it was
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.\w+)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Links whose archives make the set together: files, or folders of Drive with archives in them."""

    name: str
    links: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a set's archives.

    Attributes:
        places: tried in this order.
        members: pattern of the names of its archives in a folder that holds other sets too.
        files: names and sizes, for people who look for them.
        command: to type when they are there.
    """

    places: tuple[Place, ...]
    members: str
    files: str
    command: str


# Zhang et al. 2019 (SRNTT) and those who took the set over.
_FOLDERS = (
    Place(name="the authors' folder", links=(f"{_DRIVE}/drive/folders/1hGHy36XcmSZ1LtARWmGL5OK1IUdWJi3I",)),
    Place(name="their later folder", links=(f"{_DRIVE}/drive/folders/13BGwJMQfK6xhCNXN0y53dctthVloxniz",)),
)
_INPUT, _REF = f"{_DRIVE}/uc?id=1gN5IPZgPNkjdeXdTySe1Urog5OG8mrLc", f"{_DRIVE}/uc?id=13BX-UY4jUZu9S--X2Cd6yZ-3nH77nqo_"

KNOWN = {
    "cufed": Known(
        places=(
            *_FOLDERS,
            Place(name="the authors' two files", links=(_INPUT, _REF)),
            Place(name="input/ alone, which training needs", links=(_INPUT,)),
        ),
        members=r"cufed(?!5)",
        files="CUFED_input.zip (567 MB) and CUFED_ref.zip (588 MB, which training does not need)",
        command="--input CUFED_input.zip --ref CUFED_ref.zip",
    ),
    "cufed5": Known(
        places=(
            Place(name="the authors' file", links=(f"{_DRIVE}/uc?id=1Fa1mopExA9YGG1RxrCZZn7QFTYXLx6ph",)),
            *_FOLDERS,
        ),
        members="cufed5",
        files="CUFED5.zip (233 MB)",
        command="--archive CUFED5.zip",
    ),
}


def fetch(links: Sequence[str], folder: Path, *, members: str = "") -> list[Path]:
    """The archives behind ``links``, as files below ``folder``; one that is whole there is not fetched again.

    An interrupted transfer goes on where it stopped, in the next call too. ``members`` is the pattern of the names of
    the archives that are wanted of a folder.

    Raises:
        UsageError: a link is neither http nor https.
        SRGANError: what the first place that has no such archive answered, in one line.
    """
    fetched = []
    for link in links:
        if urlsplit(link).scheme not in ("http", "https"):
            raise UsageError(f"--url {link}: not a link that begins with https:// or http://")
        for file in _in_folder(link, members) if "/folders/" in urlsplit(link).path else [link]:
            fetched.append(_file(file, folder / hashlib.sha256(file.encode()).hexdigest()[:12]))
    return fetched


def _in_folder(link: str, members: str) -> list[str]:
    """Links of the archives in a folder of Drive."""
    import gdown

    try:
        files: Any = gdown.download_folder(
            url=link, skip_download=True, quiet=True, use_cookies=False, timeout=_SECONDS, output="."
        )
    except Exception as error:  # gdown's own, requests' and those of its parser
        raise SRGANError(_answer(error)) from error
    wanted = [each for each in files if _ARCHIVE.search(each.path) and re.search(members, each.path, re.IGNORECASE)]
    if not wanted:
        raise SRGANError(f"a folder of {len(files)} files, none of them an archive of this set")
    return [f"{_DRIVE}/uc?id={each.id}" for each in wanted]


def _file(link: str, folder: Path) -> Path:
    import gdown

    folder.mkdir(parents=True, exist_ok=True)
    with tqdm(desc=f"downloading {link}", unit="B", unit_scale=True, disable=None) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            path: Any = gdown.download(
                url=link, output=f"{folder}{os.sep}", quiet=True, use_cookies=False, resume=True, progress=show,
                timeout=_SECONDS, retries=_RETRIES,
            )  # fmt: skip
        except Exception as error:
            if "byte range" in str(error):  # else every later call would ask for the rest again
                shutil.rmtree(folder)
                raise SRGANError("cannot go on with what it sent before; the same command begins anew") from error
            with contextlib.suppress(OSError):  # it keeps what there is of a file
                folder.rmdir()
            raise SRGANError(_answer(error)) from error
    fetched = Path(path)
    try:
        archives.check_kind(fetched)
    except SRGANError:
        fetched.unlink()
        raise
    return fetched


def _answer(error: Exception) -> str:
    """What a server, or the way to it, said, in a few words."""
    import gdown.exceptions
    import requests

    cause = error.__cause__ if isinstance(error.__cause__, requests.RequestException) else error
    text = " ".join(str(error).split())
    if "incomplete" in text:
        return f"interrupted ({text.partition('. ')[0].partition(': ')[2]}); the same command goes on from there"
    if isinstance(cause, requests.HTTPError) and cause.response is not None:
        return f"{cause.response.status_code} {cause.response.reason}"
    if status := re.search(r"status code (\d+)", text):
        return f"{status[1]}, no folder"
    if isinstance(cause, requests.Timeout):
        return f"no answer in {_SECONDS} s"
    if isinstance(cause, requests.ConnectionError):
        return "no connection"
    if isinstance(error, gdown.exceptions.FileURLRetrievalError):
        return "a page, and no file: it is gone, not shared, or was fetched too often today"
    return text[:200]
