"""``python -m srgan_lit.prepare cufed|cufed5|folder``: get a data set, check every picture of it, pack it."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.common.numbers import whole_number

LINK = "https://drive.google.com/file/d/{}/view"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Where a data set comes from and what to type when it is there."""

    title: str
    default: Path
    drive_id: str | None
    next_command: str


KINDS = {
    "cufed": _Kind(
        title="CUFED",
        default=Path("data/CUFED"),
        drive_id="1hGHy36XcmSZ1LtARWmGL5OK1IUdWJi3I",
        next_command="python -m srgan_lit.train experiment=srgan data.root={}",
    ),
    "cufed5": _Kind(
        title="CUFED5",
        default=Path("data/CUFED5"),
        drive_id="1Fa1mopExA9YGG1RxrCZZn7QFTYXLx6ph",
        next_command="python -m srgan_lit.evaluate --model srgan bicubic --data {} --out results",
    ),
    "folder": _Kind(
        title="Pictures",
        default=Path("data/pictures"),
        drive_id=None,
        next_command="python -m srgan_lit.train experiment=srgan data=folder data.root={}",
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_line.parser(
        "prepare",
        "Get a data set (from its authors, from an archive, or what is in a folder), decode every picture of it,\n"
        "say what is wrong with which file, and pack it for training.",
        epilog="examples:\n"
        "  srgan-prepare cufed\n"
        "  srgan-prepare cufed5 --archive CUFED5.zip --to data/CUFED5\n"
        "  srgan-prepare folder --root photos",
    )
    parser.add_argument("dataset", choices=KINDS, help="which data set")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--archive", type=Path, metavar="FILE", help="take this zip or tar instead of downloading")
    where.add_argument("--root", type=Path, metavar="DIR", help="take what is in this folder")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where it is unpacked to (default: data/<name>)")
    parser.add_argument(
        "--scale", type=whole_number, choices=(2, 4, 8), default=4, help="pack for this scale (default: 4)"
    )
    parser.add_argument("--cache", metavar="DIR", help="folder of packed pixels, as data.cache of the training")
    parser.add_argument("--no-pack", action="store_true", help="check only; training packs when it starts")
    return parser


def _obtain(dataset: str, arguments: argparse.Namespace) -> Path:
    """The folder that holds the data set; unpacked, and downloaded before, where it is not there yet."""
    if arguments.root is not None:
        if arguments.to is not None:
            raise UsageError("--to has no effect with --root, whose pictures stay where they are: leave it out")
        return arguments.root
    kind = KINDS[dataset]
    target: Path = (arguments.to or kind.default).expanduser()
    if dataset == "folder" and arguments.archive is None:
        raise UsageError("folder needs --root DIR (what is there) or --archive FILE (a zip or tar of pictures)")
    if arguments.archive is not None and not arguments.archive.is_file():
        raise UsageError(f"{arguments.archive}: no such file")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file: name a folder with --to")

    import filelock

    from srgan_lit.data import archives

    target.parent.mkdir(parents=True, exist_ok=True)
    download = target.with_name(f"{target.name}.download")
    with filelock.FileLock(target.parent / f".{target.name}.lock"):  # two of us at once: the second finds it done
        if target.is_dir() and any(target.iterdir()):
            archives.tidy(target)  # a run may have been killed between moving and tidying up
            download.unlink(missing_ok=True)
            command_line.complain(f"{target} is there already and is checked as it is; --to names another folder")
            return target
        if arguments.archive is not None:
            _unpack(dataset, arguments.archive, target)
        else:
            _download(kind, download)
            try:
                _unpack(dataset, download, target)
            except SRGANError:
                download.unlink()  # damaged: to be fetched again
                raise
            download.unlink()
    return target


def _unpack(dataset: str, archive: Path, target: Path) -> None:
    """Unpack to ``target``, which appears with the whole data set in it, or not at all."""
    from srgan_lit.data import archives, layouts
    from srgan_lit.pictures import find

    holds: dict[str, Callable[[Path], Path | None]] = {
        "cufed": layouts.find_cufed,
        "cufed5": lambda folder: layouts.find_cufed5(folder, find.contents(folder).pictures),
        "folder": lambda folder: folder if find.contents(folder).pictures else None,
    }
    with archives.unpacked(archive, target) as staging:
        inner = staging
        while (data_set := holds[dataset](inner)) is None:
            below = list(inner.iterdir())
            if len(below) != 1 or not below[0].is_dir():
                raise SRGANError(f"{archive}: no {KINDS[dataset].title} in it")
            inner = below[0]
        data_set.replace(target)


def _download(kind: _Kind, archive: Path) -> None:
    """Fetch from the authors' link with a progress bar; an interrupted download goes on where it stopped."""
    import gdown

    assert kind.drive_id is not None
    command_line.complain(f"downloading {kind.title} from {LINK.format(kind.drive_id)}")
    try:
        gdown.download(id=kind.drive_id, output=str(archive), resume=True, use_cookies=False)
    except Exception as error:  # its own, requests' and the operating system's
        reason = "no connection" if "Max retries" in str(error) else str(error)
        raise SRGANError(
            f"{kind.title} could not be downloaded ({reason[:200]}). Fetch {LINK.format(kind.drive_id)} with a "
            f"browser, then: python -m srgan_lit.prepare {kind.title.lower()} --archive FILE"
        ) from error


def command(arguments: argparse.Namespace) -> int:
    """Obtain, check, report, pack."""
    from srgan_lit.config.schema import DataConfig
    from srgan_lit.data import inspection, packed_cache, sets

    dataset = arguments.dataset
    if (arguments.no_pack or dataset == "cufed5") and arguments.cache is not None:
        raise UsageError("--cache has no effect where nothing is packed: leave it out")
    root = _obtain(dataset, arguments)
    if dataset == "folder":
        report = inspection.folder(root, arguments.scale)
    else:
        report = {"cufed": inspection.cufed, "cufed5": inspection.cufed5}[dataset](root)
    print(f"{KINDS[dataset].title} in {root}\n\n{report.table()}")  # noqa: T201
    for line in report.wrong:
        command_line.complain(line)
    if dataset != "cufed5" and not arguments.no_pack:
        # What is no good was named above; a training decides whether it does without.
        config = DataConfig(name=dataset, root=str(root), cache=arguments.cache, skip_bad=True)
        packed_cache.open_packed(
            sets.training_sources(config, arguments.scale),
            scale=arguments.scale,
            label=sets.label(config),
            cache=arguments.cache,
        )
    print(f"next: {KINDS[dataset].next_command.format(shlex.quote(str(root)))}")  # noqa: T201
    return 1 if report.wrong else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Console entry; returns the exit status."""
    return command_line.run(build_parser, command, argv)


if __name__ == "__main__":
    sys.exit(main())
