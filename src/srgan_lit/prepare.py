"""``python -m srgan_lit.prepare cufed|cufed5|folder``: get a data set, check every picture of it, pack it."""

import argparse
import hashlib
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.common.numbers import whole_number


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What a data set is called, where it goes, and what to type when it is there."""

    title: str
    default: Path
    next_command: str


KINDS = {
    "cufed": _Kind(
        title="CUFED",
        default=Path("data/CUFED"),
        next_command="python -m srgan_lit.train experiment=srgan {}",
    ),
    "cufed5": _Kind(
        title="CUFED5",
        default=Path("data/CUFED5"),
        next_command="python -m srgan_lit.evaluate --model srgan bicubic --data {} --lr pil --out results",
    ),
    "folder": _Kind(
        title="Pictures",
        default=Path("data/pictures"),
        next_command="python -m srgan_lit.train experiment=srgan data=folder {}",
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_line.parser(
        "prepare",
        "Get a data set (from where its authors put it, from archives, or what is in a folder), decode every picture\n"
        "of it, say what is wrong with which file, and pack it for training.",
        epilog="examples:\n"
        "  srgan-prepare cufed\n"
        "  srgan-prepare cufed --input CUFED_input.zip --ref CUFED_ref.zip\n"
        "  srgan-prepare cufed5 --archive CUFED5.zip --to data/CUFED5\n"
        "  srgan-prepare folder --root photos",
    )
    parser.add_argument("dataset", choices=KINDS, help="which data set")
    parser.add_argument("--root", type=Path, metavar="DIR", help="take what is in this folder")
    parser.add_argument(
        "--archive",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="take this zip or tar instead of downloading; of cufed more than once, where input/ and ref/ are two",
    )
    parser.add_argument("--input", type=Path, metavar="FILE", help="the archive with CUFED's input/")
    parser.add_argument("--ref", type=Path, metavar="FILE", help="the archive with CUFED's ref/")
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="LINK",
        help="try this link first: http or https, or a file or folder of Google Drive; more than once where the set is "
        "in several files",
    )
    parser.add_argument(
        "--sha256",
        action="append",
        default=[],
        metavar="HEX",
        help="refuse an archive of another SHA-256; once for each archive, in any order",
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="where it is unpacked to (default: data/<name>)")
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="write the SHA-256 of every picture's pixels, to compare with another laboratory's",
    )
    parser.add_argument(
        "--scale", type=whole_number, choices=(2, 4, 8), default=4, help="pack for this scale (default: 4)"
    )
    parser.add_argument("--cache", metavar="DIR", help="folder of packed pixels, as data.cache of the training")
    parser.add_argument("--no-pack", action="store_true", help="check only; training packs when it starts")
    return parser


def _given(arguments: argparse.Namespace) -> dict[Path, str]:
    """The archives on the command line, each with the part of CUFED that it was said to hold, or "".

    Raises:
        UsageError: options that do not go together.
    """
    archives = dict.fromkeys(arguments.archive, "")
    if arguments.input and arguments.input == arguments.ref:
        raise UsageError(f"--input and --ref are one file: take --archive {arguments.input}")
    archives |= {path: part for part in ("input", "ref") if (path := getattr(arguments, part)) is not None}
    dataset, several = arguments.dataset, arguments.dataset == "cufed"
    for option, given in (("--input", arguments.input), ("--ref", arguments.ref)):
        if given and not several:
            raise UsageError(f"{option} is of cufed: take --archive {given}")
    if len(archives) > 1 and not several:
        raise UsageError(f"{dataset} is in one archive: give one --archive")
    if arguments.ref and not arguments.input and not arguments.archive:
        raise UsageError("--ref alone is not enough to train on: give --input FILE too")
    if archives and arguments.url:
        raise UsageError("--url has no effect with archives that are there: leave it out")
    for path in archives:
        if not path.is_file():
            raise UsageError(f"{path}: {'a folder: take --root' if path.is_dir() else 'no such file'}")
    for digest in arguments.sha256 or ():
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            raise UsageError(f"--sha256 {digest}: a SHA-256 is 64 hexadecimal digits")
    if arguments.root is not None:
        for option in ("archive", "input", "ref", "url", "sha256", "to"):
            if getattr(arguments, option):
                raise UsageError(f"--{option} has no effect with --root, which is taken as it is: leave it out")
    elif dataset == "folder" and not archives and not arguments.url:
        raise UsageError(
            "folder needs --root DIR (what is there), or --archive FILE or --url LINK (a zip or tar of it)"
        )
    return archives


def _obtain(arguments: argparse.Namespace) -> Path:
    """The folder that holds the data set; unpacked, and downloaded before, where it is not there yet."""
    given = _given(arguments)
    if arguments.root is not None:
        if not arguments.root.expanduser().is_dir():
            raise UsageError(f"{arguments.root}: no such folder")
        return arguments.root.expanduser()
    target: Path = (arguments.to or KINDS[arguments.dataset].default).expanduser()
    if not target.name or target.is_symlink():
        target = target.resolve()
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file: name a folder with --to")

    import filelock

    from srgan_lit.data import archives

    target.parent.mkdir(parents=True, exist_ok=True)
    download = target.with_name(f".{target.name}.download")
    lock = target.parent / f".{target.name}.lock"
    lock.touch()  # filelock would wait for ever where none can be made
    with filelock.FileLock(lock):  # two of us at once: the second finds it done
        if target.is_dir() and any(target.iterdir()):
            archives.tidy(target)  # a run may have been killed between moving and tidying up
            command_line.complain(f"{target} is there already and is checked as it is; --to names another folder")
        elif given:
            _unpack(arguments, given, target)
        else:
            _download(arguments, download, target)
        shutil.rmtree(download, ignore_errors=True)
    return target


def _unpack(arguments: argparse.Namespace, given: Mapping[Path, str], target: Path) -> None:
    """Unpack to ``target``, which appears with the whole data set in it, or not at all."""
    from srgan_lit.data import archives, layouts
    from srgan_lit.pictures import find

    for path in given:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}")  # noqa: T201
        if arguments.sha256 and digest not in map(str.lower, arguments.sha256):
            raise SRGANError(f"{path}: its SHA-256 is {digest}, and none that --sha256 demands")
    with archives.unpacked(list(given), target) as folders:
        ready, inner = None, folders[0]
        if arguments.dataset == "cufed":
            ready = _put_together(given, folders)
        while ready is None:
            pictures, below = find.contents(inner).pictures, list(inner.iterdir())
            ready = (
                layouts.find_cufed5(inner, pictures) if arguments.dataset == "cufed5" else (pictures and inner) or None
            )
            if ready is None and not (len(below) == 1 and below[0].is_dir()):
                raise SRGANError(f"{', '.join(map(str, given))}: no {KINDS[arguments.dataset].title} in it")
            inner = below[0]
        ready.replace(target)


def _put_together(given: Mapping[Path, str], folders: Sequence[Path]) -> Path:
    """CUFED's parts from what each archive was unpacked to, in one folder beside those."""
    from srgan_lit.data import layouts

    whole = folders[0].with_name("whole")
    whole.mkdir()
    for (archive, part), folder in zip(given.items(), folders, strict=True):
        by_name = next((each for each in layouts.CUFED if each in archive.stem.lower()), "")
        parts = layouts.unpacked_cufed(folder, part)
        if part and not parts:
            raise SRGANError(f"{archive}: --{part} must hold a folder {part}/ or CUFED_{part}/, or pictures alone")
        for each, place in (parts or layouts.unpacked_cufed(folder, by_name)).items():
            if (whole / each).exists():
                raise SRGANError(f"{archive}: another of the archives holds {each}/ too; give each part once")
            place.replace(whole / each)
    if not (whole / "input").is_dir():
        raise SRGANError(f"{', '.join(map(str, given))}: no CUFED in it: no folder input/ or CUFED_input/")
    return whole


def _download(arguments: argparse.Namespace, folder: Path, target: Path) -> None:
    """Fetch from the first place that has it, and unpack. What each of the others answered is said in a line.

    An interrupted download stays in ``folder``: the next call goes on where it stopped.
    """
    from srgan_lit.data import downloads

    dataset, title = arguments.dataset, KINDS[arguments.dataset].title
    known = downloads.KNOWN.get(dataset)
    places = [downloads.Place(name="--url", links=tuple(arguments.url))] if arguments.url else []
    for place in [*places, *(known.places if known else ())]:
        tried = f"{place.name} ({' and '.join(place.links)})"
        fetched: list[Path] = []
        try:
            fetched = downloads.fetch(place.links, folder, members=known.members if known else "")
            _unpack(arguments, dict.fromkeys(fetched, ""), target)
        except UsageError:
            raise
        except SRGANError as error:
            for path in fetched:
                path.unlink()  # damaged, or something else: to be fetched again
            command_line.complain(f"tried {tried}: {error}")
            continue
        command_line.complain(f"fetched from {tried}")
        return
    if known is None:
        raise SRGANError(f"{title}: nothing could be downloaded from the links given")
    raise SRGANError(
        f"{title} could not be downloaded from any of these places. Ask for {known.files}: groups that work on "
        "reference-based super-resolution (SRNTT, TTSR, MASA-SR, C2-Matching, DATSR, AMSA) pass them on. When they are "
        f"there: python -m srgan_lit.prepare {dataset} {known.command}"
    )


def command(arguments: argparse.Namespace) -> int:
    """Obtain, check, report, pack."""
    from srgan_lit.common import atomic_files
    from srgan_lit.config import quoting
    from srgan_lit.config.schema import DataConfig
    from srgan_lit.data import inspection, packed_cache, sets

    dataset, title = arguments.dataset, KINDS[arguments.dataset].title
    if (arguments.no_pack or dataset == "cufed5") and arguments.cache is not None:
        raise UsageError("--cache has no effect where nothing is packed: leave it out")
    root = _obtain(arguments)
    if dataset == "folder":
        report = inspection.folder(root, arguments.scale)
    else:
        report = {"cufed": inspection.cufed, "cufed5": inspection.cufed5}[dataset](root)
    print(f"{title} in {root}\n\n{report.table()}")  # noqa: T201
    for line in [*report.remarks, *report.wrong]:
        command_line.complain(line)
    if arguments.manifest is not None:
        atomic_files.write_text(arguments.manifest, report.manifest())
    if dataset != "cufed5" and not arguments.no_pack:
        # What is no good was named above; a training decides whether it does without.
        config = DataConfig(name=dataset, root=str(root), cache=arguments.cache, skip_bad=True)
        packed_cache.open_packed(
            sets.training_sources(config, arguments.scale),
            scale=arguments.scale,
            label=sets.label(config),
            cache=arguments.cache,
        )
    where = str(root) if dataset == "cufed5" else quoting.override("data.root", root)
    print(f"next: {KINDS[dataset].next_command.format(shlex.quote(where))}")  # noqa: T201
    return 1 if report.wrong else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Console entry; returns the exit status."""
    return command_line.run(build_parser, command, argv)


if __name__ == "__main__":
    sys.exit(main())
