"""Checks of a whole data set: every picture decoded; counts, sizes and pairs. No torch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from srgan_lit.common import text_tables, worker_processes
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.data import layouts
from srgan_lit.pictures import find, rgb8

CUFED_PAIRS = 11_871
CUFED_SIDE_PX = 160
CUFED5_GROUPS = 126
CUFED5_MEMBERS = 6  # an HR image and five references


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a check. ``rows`` are (what, found, expected) for the table; ``wrong`` has one line per fault."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def table(self) -> str:
        """The rows as a table: aligned for a terminal, and Markdown to paste."""
        return text_tables.markdown([("", "found", "expected"), *self.rows], left=[True, True, True])


@dataclass(frozen=True, kw_only=True)
class _Examined:
    mode: str
    size: tuple[int, int]  # width, height
    wrong: str | None


def _examine(path: Path) -> _Examined:
    """Runs in a process of its own."""
    try:
        pixels = rgb8.read_picture(path).pixels
        with rgb8.open_image(path) as opened:
            return _Examined(mode=opened.mode, size=(pixels.shape[1], pixels.shape[0]), wrong=None)
    except SRGANError as error:
        return _Examined(mode="", size=(0, 0), wrong=str(error))


def _add_pictures(report: Report, paths: Sequence[Path], *, expected_size: tuple[int, int] | None) -> None:
    """Decode every picture, and add sizes, modes and what is wrong."""
    results = list(worker_processes.over(_examine, paths, doing="checking", in_processes=len(paths) > 50))
    good = [(path, result) for path, result in results if result.wrong is None]
    report.wrong.extend(result.wrong for _, result in results if result.wrong is not None)
    if expected_size is not None:
        report.wrong.extend(
            f"{path}: {result.size[0]}x{result.size[1]}, expected {expected_size[0]}x{expected_size[1]}"
            for path, result in good
            if result.size != expected_size
        )
    expected = f"{expected_size[0]}x{expected_size[1]}" if expected_size is not None else ""
    report.rows.append(("sizes", _counted(f"{result.size[0]}x{result.size[1]}" for _, result in good), expected))
    report.rows.append(("modes", _counted(result.mode for _, result in good), ""))
    if expected_size is None and good:
        path, least = min(good, key=lambda item: min(item[1].size))
        report.rows.append(("smallest", f"{least.size[0]}x{least.size[1]} {path.name}", ""))
    report.rows.append(("unreadable", str(len(results) - len(good)), "0"))


def _counted(values: Iterable[str]) -> str:
    """The most frequent first: ``160x160 (23742), 96x96 (2)``."""
    counts = Counter(values).most_common()
    shown = ", ".join(f"{value} ({count})" for value, count in counts[:6])
    return shown + (f" and {len(counts) - 6} others" if len(counts) > 6 else "")


def cufed(root: Path) -> Report:
    """CUFED: 11,871 pairs of 160x160 pictures, the same names in ``input/`` and ``ref/``.

    Raises:
        UsageError: there is none in ``root``.
    """
    folder = layouts.find_cufed(root)
    if folder is None:
        raise UsageError(f"{root}: no CUFED there: no folder input/, nor in CUFED/ or train/")
    contents = find.contents(folder)
    parts = {
        part: [path for path in contents.pictures if path.is_relative_to(folder / part)] for part in ("input", "ref")
    }
    names = {part: {path.name for path in paths} for part, paths in parts.items()}
    pairs = len(names["input"] & names["ref"])
    report = Report(wrong=contents.unreadable)
    report.rows.append(("pairs", str(pairs), str(CUFED_PAIRS)))
    report.rows.append(("albums", str(len({layouts.cufed_album(name) for name in names["input"]})), ""))
    if pairs != CUFED_PAIRS:
        report.wrong.append(f"{folder}: {pairs} pairs, expected {CUFED_PAIRS}")
    if not parts["ref"]:
        report.wrong.append(f"{folder / 'ref'}: no pictures; input/ alone is enough unless data.use_ref=true")
    else:
        for part, other in (("input", "ref"), ("ref", "input")):
            report.wrong.extend(
                f"{folder / part / name}: {other}/ has no picture of this name"
                for name in sorted(names[part] - names[other])
            )
    _add_pictures(report, parts["input"] + parts["ref"], expected_size=(CUFED_SIDE_PX, CUFED_SIDE_PX))
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
    pictures = [
        path for path in contents.pictures if path.parent == folder and layouts.CUFED5_NAME.fullmatch(path.name)
    ]
    groups = sorted({path.name[:3] for path in pictures})
    names = {path.name for path in pictures}
    report = Report(wrong=contents.unreadable)
    report.rows.append(("groups", str(len(groups)), str(CUFED5_GROUPS)))
    report.rows.append(("pictures", str(len(pictures)), str(CUFED5_GROUPS * CUFED5_MEMBERS)))
    if len(groups) != CUFED5_GROUPS:
        report.wrong.append(f"{folder}: {len(groups)} groups, expected {CUFED5_GROUPS}")
    report.wrong.extend(
        f"{folder / name}: missing"
        for group in groups
        for name in (f"{group}_{member}.png" for member in range(CUFED5_MEMBERS))
        if name not in names
    )
    _add_pictures(report, pictures, expected_size=None)
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
    _add_pictures(report, pictures, expected_size=None)
    return report
