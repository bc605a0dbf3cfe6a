"""Checks of a whole data set: every picture decoded; counts, sizes and pairs. No torch."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from srgan_lit.common import text_tables, worker_processes
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import layouts
from srgan_lit.pictures import find, full_files, rgb8

CUFED_PAIRS = 11_871
_NAMED = 3  # files in a line that counts them


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a check.

    Attributes:
        rows: (what, found, expected) for the table.
        remarks: what the set is not, and what follows from it: no faults.
        wrong: one line for each fault.
        contents: SHA-256 of each picture's pixels, by the name that it has on every machine.
    """

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)

    def table(self) -> str:
        """The rows as a table: aligned for a terminal, and Markdown to paste."""
        return text_tables.markdown([("", "found", "expected"), *self.rows], left=[True, True, True])

    def manifest(self) -> str:
        """A line for each picture, ``<SHA-256 of its pixels>  <name>``, sorted by name: equal sets have equal ones."""
        return "".join(f"{content}  {name}\n" for name, content in sorted(self.contents.items()))


@dataclass(frozen=True, kw_only=True)
class _Examined:
    mode: str = ""
    size: tuple[int, int] = (0, 0)  # width, height
    content: str = ""
    wrong: str | None = None


def _examine(path: Path) -> _Examined:
    """Runs in a process of its own."""
    try:
        pixels = rgb8.read_picture(path).pixels
        with full_files.open_image(path) as opened:
            return _Examined(
                mode=opened.mode, size=(pixels.shape[1], pixels.shape[0]), content=rgb8.content(pixels)
            )  # fmt: skip
    except SRGANError as error:
        return _Examined(wrong=str(error))


def _add_pictures(report: Report, names: Mapping[Path, str], *, expected: str = "", least: int = 0) -> None:
    """Decode every picture; add sizes, modes and what is wrong, which is also a side of fewer than ``least`` pixels."""
    results = list(worker_processes.over(_examine, list(names), doing="checking", in_processes=len(names) > 50))
    good = [(path, result) for path, result in results if result.wrong is None]
    report.wrong.extend(result.wrong for _, result in results if result.wrong is not None)
    report.wrong.extend(
        f"{path}: {result.size[0]}x{result.size[1]}, smaller than the crops of {least} that training cuts"
        for path, result in good
        if min(result.size) < least
    )
    report.contents.update({names[path]: result.content for path, result in good})
    report.rows.append(("sizes", _counted(f"{result.size[0]}x{result.size[1]}" for _, result in good), expected))
    report.rows.append(("modes", _counted(result.mode for _, result in good), ""))
    if good:
        path, smallest = min(good, key=lambda item: min(item[1].size))
        report.rows.append(("smallest", f"{smallest.size[0]}x{smallest.size[1]} {path.name}", ""))
    report.rows.append(("unreadable", str(len(results) - len(good)), "0"))
    twice = len(good) - len({result.content for _, result in good})
    report.rows.append(("duplicates", str(twice), ""))
    report.rows.append(("SHA-256 of all pixels", hashlib.sha256(report.manifest().encode()).hexdigest(), ""))


def _counted(values: Iterable[str]) -> str:
    """The most frequent first: ``160x160 (23742), 96x96 (2)``."""
    counts = Counter(values).most_common()
    shown = ", ".join(f"{value} ({count})" for value, count in counts[:6])
    return shown + (f" and {len(counts) - 6} others" if len(counts) > 6 else "")


def _named(names: Iterable[str]) -> str:
    first, *_ = listed = sorted(names)
    return first if len(listed) == 1 else ", ".join(listed[:_NAMED]) + (", …" if len(listed) > _NAMED else "")


def cufed(root: Path) -> Report:
    """CUFED: 11,871 pairs of pictures of 157 to 160 pixels a side, the same names in ``input/`` and ``ref/``.

    Raises:
        UsageError: there is none in ``root``.
    """
    parts = layouts.find_cufed(root)
    if not parts:
        raise UsageError(f"{root}: no CUFED there: no folder input/, nor in CUFED/ or train/")
    contents = {part: find.contents(folder) for part, folder in parts.items()}
    names = {
        part: {path.name for path in contents[part].pictures} if part in parts else set() for part in layouts.CUFED
    }
    report = Report(wrong=[line for each in contents.values() for line in each.unreadable])
    if names["ref"]:
        report.rows.append(("pairs", str(len(names["input"] & names["ref"])), str(CUFED_PAIRS)))
    report.rows.extend((f"{part}/", str(len(names[part])), str(CUFED_PAIRS)) for part in layouts.CUFED)
    report.rows.append(("albums", str(len({layouts.cufed_album(name) for name in names["input"]})), ""))
    if len(names["input"]) != CUFED_PAIRS:
        report.remarks.append(
            f"{root}: {len(names['input'])} of CUFED's {CUFED_PAIRS} pictures in input/: training works, and is not "
            "comparable with that of papers, who train on all"
        )
    if not names["ref"]:
        report.remarks.append(
            f"{root}: no pictures in ref/: training needs input/ alone, and only data.use_ref=true needs ref/ too"
        )
    elif alone := [
        f"{part}/{name}" for part, other in (("input", "ref"), ("ref", "input")) for name in names[part] - names[other]
    ]:
        report.remarks.append(
            f"{root}: {len(alone)} pictures have no partner of their name ({_named(alone)}), which methods with "
            "references need, and SRGAN does not"
        )
    _add_pictures(
        report,
        {path: f"{part}/{path.relative_to(folder).as_posix()}" for part, folder in parts.items()
         for path in contents[part].pictures},
        expected="157 to 160 a side",
        least=DataConfig(name="cufed").crop,
    )  # fmt: skip
    return report


def cufed5(root: Path) -> Report:
    """CUFED5: 126 groups, each ``000_0.png`` (HR) to ``000_5.png``.

    Raises:
        UsageError: there is none in ``root``.
    """
    contents = find.contents(root)
    folder = layouts.find_cufed5(root, contents.pictures)
    if folder is None:
        raise layouts.nothing_there(root, contents.unreadable, "no CUFED5 there: no 000_0.png, nor in CUFED5/ or test/")
    pictures = {
        path: path.name
        for path in contents.pictures
        if path.parent == folder and layouts.CUFED5_NAME.fullmatch(path.name)
    }
    groups = sorted({name[:3] for name in pictures.values()})
    report = Report(wrong=contents.unreadable)
    report.rows.append(("groups", str(len(groups)), str(layouts.CUFED5_GROUPS)))
    report.rows.append(("pictures", str(len(pictures)), str(layouts.CUFED5_GROUPS * layouts.CUFED5_MEMBERS)))
    if caption := layouts.incomplete(sum(name.endswith("_0.png") for name in pictures.values())):
        report.remarks.append(f"{root}: {caption}")
    missing = {f"{group}_{member}.png" for group in groups for member in range(layouts.CUFED5_MEMBERS)}
    if missing := missing - set(pictures.values()):
        report.remarks.append(
            f"{root}: {len(missing)} pictures of these groups are missing ({_named(missing)}); of a group, SRGAN is "
            "scored on …_0.png alone"
        )
    _add_pictures(report, pictures)
    return report


def folder(root: Path, scale: int) -> Report:
    """Any tree of pictures, in any layout: its originals, and their LR files of this ``scale``.

    Raises:
        UsageError: no folder, no pictures in it, or what looks like pairs and is in no known layout.
        SRGANError: the folder cannot be read.
    """
    layout = layouts.of_training(root, scale)
    pictures = sorted({path for pair in layout.pairs for path in pair if path})
    if not pictures:
        raise layouts.nothing_there(root, layout.unreadable, "no pictures there")
    report = Report(wrong=layout.unreadable)
    report.rows.append(("pictures", str(len(pictures)), ""))
    report.rows.append(("understood as", layout.understood(root), ""))
    if layout.others:
        report.rows.append(("passed over", f"{len(layout.others)}: {find.named(layout.others)}", ""))
    _add_pictures(report, {path: path.relative_to(root).as_posix() for path in pictures})
    return report
