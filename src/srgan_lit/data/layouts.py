"""How data sets lie in folders: which files are originals (HR), and which are their small versions (LR).

A layout of pairs is a row of ``BY_FOLDER`` or ``BY_SUFFIX``; CUFED and CUFED5 are recognised by their names. Files are
opened only where no layout fits, to see whether they look like pairs: training on LR files, or scoring them as
originals, would give wrong numbers without a warning.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.pictures import find, full_files, rgb8

SCALES = (2, 3, 4, 8)


@dataclass(frozen=True, kw_only=True)
class ByFolder:
    """HR in one folder, LR in another beside it. Names are compared without regard to case.

    Attributes:
        hr: pattern of the HR folder's name; its group ``set``, if it has one, goes into ``lr`` and ``others``, and
            ``sub``, which BasicSR puts after the names of pieces, behind each name in ``lr``.
        lr: LR folders from their common parent, the first that exists; ``{scale}`` is the scale.
        others: patterns of folders with LR of any scale, or with the same originals again, which are left out.
    """

    hr: str
    lr: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BySuffix:
    """HR and LR in one folder, told apart by the ends of their names.

    Attributes:
        name: pattern of a name without suffix. Groups: ``stem``, which both share; ``kind``, which begins with HR or
            GT, or with LR, or else says which method made the file; ``scale``, where the name has it.
    """

    name: str


# DIV2K and Flickr2K; BasicSR's benchmarks; the folders of most other projects, EDSR's and MATLAB's among them.
BY_FOLDER = (
    ByFolder(
        hr=r"(?P<set>.+)_HR(?P<sub>_sub)?",
        lr=(
            "{set}_LR_bicubic/X{scale}", "{set}_LR_bicubic_X{scale}", "{set}_LR_unknown/X{scale}", "{set}_LR_x{scale}",
            "{set}_LRx{scale}", "{set}_LR_mild", "{set}_LR_difficult", "{set}_LR_wild", "{set}_LR",
        ),
        others=(r"{set}_LR.*",),
    ),
    ByFolder(hr=r"GTmod\d+", lr=("LRbicx{scale}", "LRx{scale}"), others=(r"LR.*", r"GTmod\d+", "original", "GT", "HR")),
    ByFolder(
        hr=r"(HR|GT)(?P<sub>_sub)?",
        lr=(
            "LRx{scale}", "LR_x{scale}", "LRbicx{scale}", "LR_bicubic/X{scale}", "LR_bicubic_X{scale}", "LR/x{scale}",
            "LQx{scale}", "X{scale}", "LR", "LQ", "LR_bicubic",
        ),
        others=(r"(LR|LQ).*", r"X\d", "original"),
    ),
    ByFolder(hr=r"high[-_]?res", lr=("low_res", "low-res", "lowres"), others=(r"low[-_]?res.*",)),
)  # fmt: skip

# SelfExSR's (img_001_SRF_4_HR.png, …_LR.png, …_A+.png), RealSR's (a_HR.png, a_LR4.png).
BY_SUFFIX = (
    BySuffix(name=r"(?P<stem>.+)_SRF_(?P<scale>\d)_(?P<kind>.+)"),
    BySuffix(name=r"(?P<stem>.+)[_-](?P<kind>HR|GT|(LR|LQ)(_?x?(?P<scale>\d))?)"),
)

# Where authors' archives and other projects put these files.
CUFED_PLACES = ("", "CUFED", "train", "CUFED/train", "train/CUFED")
CUFED = ("input", "ref")  # its parts
_CUFED_NAMES = (("input", "input"), ("input", "CUFED_input"), ("ref", "ref"), ("ref", "CUFED_ref"))
CUFED5_PLACES = ("", "CUFED5", "test", "test/CUFED5", "CUFED5/test")
CUFED5 = "CUFED5"
CUFED5_NAME = re.compile(r"(\d{3})_([0-5])\.png")
CUFED5_GROUPS = 126
CUFED5_MEMBERS = 6  # an HR image and five references
_CUFED_ALBUM = re.compile(r"\d+@N\d+_\d+")  # Flickr user id and event number

# Parts of a set: train/, valid/, testA/; DIV2K_valid_HR, DIV2K_test_LR_bicubic.
_PART = re.compile(
    r"(?:(?P<train>train|training)|(?P<validation>val|valid|validation)|(?P<test>test|testing))[AB]?"
    r"|(?:.+_)?(?:(?P<train_>train)|(?P<validation_>val|valid|validation)|(?P<test_>test))_(?:HR|LR).*",
    re.IGNORECASE,
)
# Pieces of one photograph, as BasicSR's scripts cut them: 0001_s001.png … in a folder …_sub.
_PIECE = re.compile(r"_s\d{3,}(?=\.[^./]+$)")

# What may tell HR from LR in a name that is in no known layout.
_MARKS = re.compile(r"(?<![a-z])(SRF_?\d|HR|GT|LR|LQ|high|low|x\d)(?![a-z])|_?x\d[mdw]?\d?$", re.IGNORECASE)
_GROUPS_COMPARED = 40  # at most, of files that share a name: their sizes are read
_MEMBERS_COMPARED = 8  # at most, of a group
_ALIKE_LEVELS = 10  # of 255, the mean difference up to which two pictures show the same


@dataclass(kw_only=True)
class Layout:
    """What a folder was understood as.

    Attributes:
        pairs: HR files, each with its LR file or None where LR is to be made. Where one of a pair is missing, its
            path is where it would be: reading it fails, by name.
        remarks: how it was understood, for people; none for a plain folder of pictures.
        left_out: pictures that are not originals.
        others: files that are no pictures, each with the reason.
        unreadable: one line for each folder that cannot be read.
        benchmark: the set that this is, where papers score it in a way of their own: CUFED5, or "".
        caption: why its scores cannot be compared with those of papers; or "".
        validation: pairs that lie in a part for validation, none of ``pairs``.
    """

    pairs: list[tuple[Path, Path | None]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    others: list[tuple[Path, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    benchmark: str = ""
    caption: str = ""
    validation: list[tuple[Path, Path | None]] = field(default_factory=list)

    def understood(self, root: Path) -> str:
        """One line: how many pictures, and which files are what."""
        with_lr = sum(lr is not None for _, lr in self.pairs)
        count = f"{len(self.pairs)} {'pair' if with_lr == len(self.pairs) else 'picture'}{'s' * (len(self.pairs) != 1)}"
        if 0 < with_lr < len(self.pairs):
            count += f", {with_lr} of them with LR files"
        remarks = self.remarks or ["each is an original, LR is made of it"]
        if self.left_out:
            folders = Counter(_below(path.parent, root) for path in self.left_out)
            listed = ", ".join(f"{name} ({count})" for name, count in folders.most_common(4))
            more = f" and {len(folders) - 4} more folders" if len(folders) > 4 else ""
            remarks = [*remarks, f"left out: {listed}{more}"]
        return f"{count}: {'; '.join(remarks)}"


def _below(folder: Path, root: Path) -> str:
    return "./" if folder == root else f"{folder.relative_to(root).as_posix()}/"


# ---------------------------------------------------------------------- CUFED


def find_cufed(root: Path) -> dict[str, Path]:
    """The folders of CUFED's ``input`` and, if it is there, ``ref``, in any of the known layouts; {} without input."""
    for place in CUFED_PLACES:
        there = {part: root / place / name for part, name in _CUFED_NAMES if (root / place / name).is_dir()}
        if "input" in there:
            return there
    return {}


def unpacked_cufed(folder: Path, part: str = "") -> dict[str, Path]:
    """The same of an archive that was unpacked to ``folder``, in any layout.

    With ``part``, that one alone: in a folder of its name, or else, where no folder is called after a part, in the only
    one that holds pictures.
    """
    holding = sorted({path.parent for path in find.contents(folder).pictures}, key=lambda path: (len(path.parts), path))
    there: dict[str, Path] = {}
    for each, name in _CUFED_NAMES:
        for place in holding:
            if place.name.casefold() == name.casefold():
                there.setdefault(each, place)
    if not part:
        return there
    return {part: there[part]} if part in there else {part: holding[0]} if len(holding) == 1 and not there else {}


def cufed_album(name: str) -> str:
    """The album of a CUFED patch, such as ``7595161@N07_31``; a name without one is an album of its own."""
    match = _CUFED_ALBUM.search(name)
    return match[0] if match else name


def find_cufed5(root: Path, pictures: Sequence[Path]) -> Path | None:
    """The folder that holds files named like CUFED5's, whole or not, in any of the known layouts; None if none does.

    Args:
        root: where to look.
        pictures: all below it.
    """
    folders = {path.parent for path in pictures if CUFED5_NAME.fullmatch(path.name)}
    return next((root / place for place in CUFED5_PLACES if root / place in folders), None)


def _cufed5(root: Path, found: Sequence[Path]) -> Layout | None:
    """The layout of CUFED5 where the folder holds nothing but groups of it, of which a tenth at most is missing."""
    folder = find_cufed5(root, found)
    if folder is None:
        return None
    pictures = [path for path in found if path.parent == folder]
    names = {path.name for path in pictures}
    if not all(map(CUFED5_NAME.fullmatch, names)):
        return None
    missing = {f"{name[:4]}{member}.png" for name in names for member in range(CUFED5_MEMBERS)} - names
    if len(missing) > len(names) / 10:
        return None
    originals = [path for path in pictures if path.stem.endswith("_0")]
    remarks = f"CUFED5, whose …_0.png are the originals and the other {len(pictures) - len(originals)} references"
    return Layout(
        pairs=[(path, None) for path in originals],
        remarks=[f"{remarks}; LR is made"],
        left_out=[path for path in found if path.parent != folder],
        benchmark=CUFED5,
        caption=incomplete(len(originals)),
    )


def incomplete(groups: int) -> str:
    """What must stand at a table of so many groups of CUFED5; "" where they are all."""
    return (
        "" if groups == CUFED5_GROUPS else f"{groups} of {CUFED5_GROUPS} groups: not comparable with the papers' rows"
    )


def nothing_there(root: Path, unreadable: Sequence[str], why: str) -> SRGANError:
    """The error for a folder without usable pictures: SRGANError where folders cannot be read, else UsageError."""
    if not root.is_dir():
        return UsageError(f"{root}: no such folder")
    if unreadable:
        return SRGANError(f"{unreadable[0]}{_and_more(len(unreadable) - 1)}")
    return UsageError(f"{root}: {why}")


def _and_more(count: int) -> str:
    return f" (and {count} more)" if count else ""


# ---------------------------------------------------------------------- pairs


def of_training(root: Path, scale: int, *, parts: bool = True) -> Layout:
    """The originals below ``root``, whatever layouts its folders have, with their LR files of this ``scale``.

    With ``parts``, what lies in folders for validation is ``validation``, and what lies in folders for testing is left
    out: ``val``, ``test`` and the like, and DIV2K's names.

    Raises:
        UsageError: it looks like pairs, and no layout says which files are which; or all lies in such folders.
    """
    contents = find.contents(root)
    hint = "name both with data.hr=<folder> data.lr=<folder>, or the originals alone with data.root=<folder>"
    layout = _in_any_layout(root, contents.pictures, scale, hint=hint)
    layout = replace(layout, others=contents.others, unreadable=contents.unreadable)
    by_part: dict[str, list[tuple[Path, Path | None]]] = defaultdict(list)
    for pair in layout.pairs:
        by_part[_part(pair[0], root) if parts else "train"].append(pair)
    if not by_part.keys() - {"train"}:
        return layout
    if not by_part["train"]:
        inside = by_part["validation"] + by_part["test"]
        raise UsageError(
            f"{root}: its pictures are in folders for validation or testing, which are not trained on; if they are to "
            f"be, name one itself: data.root={inside[0][0].parent}"
        )
    if validation := by_part["validation"]:
        folders = Counter(_below(hr.parent, root) for hr, _ in validation)
        said = ", ".join(f"{name} ({count})" for name, count in folders.most_common(4))
        layout.remarks.append(f"validated with, and not trained on: {said}")
    if by_part["test"]:
        layout.remarks.append("what is for testing is not trained on: data.test_root=<its folder> scores it")
    left_out = sorted([*layout.left_out, *(hr for hr, _ in by_part["test"])])
    return replace(layout, pairs=by_part["train"], validation=by_part["validation"], left_out=left_out)


def _part(path: Path, root: Path) -> str:
    """What a file is for by the outermost folder below ``root`` that says so: train, validation or test."""
    for name in path.relative_to(root).parts[:-1]:
        if match := _PART.fullmatch(name):
            return str(match.lastgroup).rstrip("_")
    return "train"


def photograph(name: str) -> str:
    """What all pieces of one photograph share, of a piece's path; another path as it is."""
    whole = _PIECE.sub("", name)
    return name if whole == name else re.sub(r"_sub(?=/)", "", whole)


def of_test(root: Path, scale: int) -> Layout:
    """The same for test pictures, CUFED5 among them.

    Raises:
        UsageError: as ``of_training``.
    """
    hint = "name both folders, as in --hr DIR --lr DIR, or --hr DIR alone, whose pictures are then all originals"
    contents = find.contents(root)
    layout = _cufed5(root, contents.pictures) or _in_any_layout(
        root, contents.pictures, scale, hint=hint, hr_alone=True
    )
    return replace(layout, others=contents.others, unreadable=contents.unreadable)


def of_two_folders(hr: Path, lr: Path | None, scale: int) -> Layout:
    """Every picture below ``hr`` is an original; its LR file has the same name below ``lr``, or LR is made.

    Raises:
        UsageError: not one file has a partner, or one has two.
    """
    large = find.contents(hr)
    if lr is None:
        pairs: list[tuple[Path, Path | None]] = [(path, None) for path in large.pictures]
        return Layout(pairs=pairs, remarks=["all are originals, LR is made"], unreadable=large.unreadable)
    small = find.contents(lr)
    pairs = _paired(large.pictures, hr, small.pictures, lr, scale)
    return Layout(pairs=pairs, remarks=[f"{hr} with {lr}"], unreadable=large.unreadable + small.unreadable)


def of_list(file: Path, hr: Path, lr: Path | None, scale: int) -> Layout:
    """The originals that a list names, as BasicSR writes it: ``0001_s001.png (480,480,3)``, a line for each.

    A line may name an LR file too, after a comma and a space, below ``lr`` or, without it, below ``hr``. Else LR files
    have the same names below ``lr``, or LR is made.

    Raises:
        UsageError: the list cannot be read, names nothing, or names files that are not there.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"data.meta_info={file}: cannot be read ({error})") from error
    lines = [re.sub(r"\s+\([\d, ]+\)$", "", line.strip()) for line in text.splitlines() if line.strip()]
    pairs: list[tuple[Path, Path | None]] = []
    for line in dict.fromkeys(lines):
        large, _, small = line.partition(", ")
        pairs.append((hr / large, (lr or hr) / small if small else None))
    missing = [str(path) for pair in pairs for path in pair if path and not path.is_file()]
    outside = [
        path for pair in pairs for path, folder in zip(pair, (hr, lr or hr), strict=True)
        if path and not Path(os.path.normpath(path.absolute())).is_relative_to(os.path.normpath(folder.absolute()))
    ]  # fmt: skip
    if missing or outside or not pairs:
        what = missing[0] if missing else outside[0] if outside else "nothing"
        more = _and_more(len(missing) - 1) if missing else ""
        raise UsageError(f"data.meta_info={file} names {what}{more}, which is no file in {hr}")
    if lr is not None and not any(small for _, small in pairs):
        listed = [large for large, _ in pairs]
        partners = dict(_paired(listed, hr, find.contents(lr).pictures, lr, scale))
        pairs = [(large, partners[large]) for large in listed]
    return Layout(pairs=pairs, remarks=[f"those that {file} names"])


def _in_any_layout(root: Path, pictures: Sequence[Path], scale: int, *, hint: str, hr_alone: bool = False) -> Layout:
    tree: dict[Path, list[Path]] = {root: []}
    below: dict[Path, list[Path]] = defaultdict(list)
    for path in pictures:
        folder = path.parent
        while folder not in tree:
            tree[folder] = []
            below[folder.parent].append(folder)
            folder = folder.parent
        tree[path.parent].append(path)
    layout = Layout()
    plain: list[Path] = []

    def all_in(folder: Path) -> list[Path]:
        return tree[folder] + [path for inner in below[folder] for path in all_in(inner)]

    def walk(folder: Path) -> None:
        sets = _by_folder(folder, below, scale, hr_alone=hr_alone and folder == root)
        sets = sets or _by_size(below[folder], all_in, hint)
        for hr, lr in sets:
            layout.pairs += _paired(all_in(hr), hr, all_in(lr), lr, scale) if lr else [(p, None) for p in all_in(hr)]
            layout.remarks.append(
                f"{_below(hr, root)} with {_below(lr, root)}" if lr else f"{_below(hr, root)}, LR is made"
            )
        if sets:
            used = [place for pair in sets for place in pair if place]
            layout.left_out += [
                path for path in all_in(folder) if not any(path.is_relative_to(place) for place in used)
            ]
            return
        claims = (_by_suffix(row, tree[folder], folder, scale, hint) for row in BY_SUFFIX)
        claim = next((claim for claim in claims if claim), None)
        if claim is None:
            plain.extend(tree[folder])
        else:
            layout.pairs += claim.pairs
            layout.left_out += claim.left_out
            layout.remarks += claim.remarks
        for inner in below[folder]:
            walk(inner)

    walk(root)
    if not layout.pairs and layout.left_out:
        raise UsageError(f"{root}: pairs, but none for x{scale} (such as {layout.left_out[0]}); {hint}")
    _refuse_unknown_pairs(plain, root, hint)
    if plain and layout.remarks:
        layout.remarks.append(f"{len(plain)} others, LR is made")
    layout.remarks = list(dict.fromkeys(layout.remarks))
    layout.pairs += [(path, None) for path in plain]
    layout.pairs.sort(key=lambda pair: pair[0].relative_to(root).as_posix())
    return layout


def _by_folder(
    folder: Path, below: Mapping[Path, Sequence[Path]], scale: int, *, hr_alone: bool
) -> list[tuple[Path, Path | None]]:
    """(HR folder, LR folder or None) of every set in ``folder``; ``hr_alone``: even where nothing lies beside it."""
    children = {path.name.casefold(): path for path in below.get(folder, ())}
    deeper = {f"{name}/{each.name.casefold()}": each for name, path in children.items() for each in below.get(path, ())}
    for row in BY_FOLDER:
        sets: list[tuple[Path, Path | None]] = []
        for name, path in children.items():
            match = re.fullmatch(row.hr, name, re.IGNORECASE)
            if match is None:
                continue
            prefix, sub = (match.groupdict().get(group) or "" for group in ("set", "sub"))
            others = [re.compile(pattern.format(set=re.escape(prefix)), re.IGNORECASE) for pattern in row.others]
            beside = any(other != name and pattern.fullmatch(other) for other in children for pattern in others)
            if beside or hr_alone:
                lr_names = [f"{pattern.format(set=prefix, scale=scale)}{sub}".casefold() for pattern in row.lr]
                lr_folders = [children.get(each) or deeper.get(each) for each in lr_names]
                sets.append((path, next(filter(None, lr_folders), None)))
        if sets:
            return sets
    return []


def _by_size(
    folders: Sequence[Path], all_in: Callable[[Path], list[Path]], hint: str
) -> list[tuple[Path, Path | None]]:
    """(HR folder, LR folder) of ``trainA`` and ``trainB``, and the like: the larger pictures are HR.

    Raises:
        UsageError: neither has the larger ones.
    """
    by_name = {folder.name.casefold(): folder for folder in folders}
    sets: list[tuple[Path, Path | None]] = []
    for name, first in by_name.items():
        second = by_name.get(f"{name[:-1]}b")
        if not re.fullmatch("(train|val|valid|test)a", name) or second is None:
            continue
        partners = {path.stem: path for path in all_in(second)}
        both = [(path, partners[path.stem]) for path in all_in(first) if path.stem in partners][:_GROUPS_COMPARED]
        larger = {pair[0].is_relative_to(first) for each in both if (pair := _differ_by_a_scale(each))}
        if len(larger) != 1:
            raise UsageError(f"{first} and {second} look like pairs, but their sizes do not say which is HR; {hint}")
        sets.append((first, second) if larger == {True} else (second, first))
    return sets


def _paired(
    originals: Sequence[Path], hr: Path, small: Sequence[Path], lr: Path, scale: int
) -> list[tuple[Path, Path | None]]:
    """Every original with its LR file: of the same name, but for what marks HR, LR and the scale.

    Raises:
        UsageError: not one has a partner, or one has two.
    """

    def name(path: Path, folder: Path) -> str:
        return path.relative_to(folder).with_suffix("").as_posix()

    def bare(stem: str) -> str:
        stem = re.sub(rf"(_SRF_{scale})?[_-](HR|GT|LR|LQ)(_?x?{scale})?$", "", stem, flags=re.IGNORECASE)
        return re.sub(rf"_?x{scale}[mdw]?\d?$", "", stem)  # m, d, w: DIV2K's mild, difficult, wild

    exact: dict[str, list[Path]] = defaultdict(list)
    loose: dict[str, list[Path]] = defaultdict(list)
    for path in small:
        exact[name(path, lr)].append(path)
        loose[bare(name(path, lr))].append(path)
    pairs: list[tuple[Path, Path | None]] = []
    partnered = set()
    for path in originals:
        stem = name(path, hr)
        partners = exact.get(stem) or loose.get(bare(stem)) or [lr / path.relative_to(hr)]
        if len(partners) > 1:
            raise UsageError(
                f"{path} has two LR files, {partners[0]} and {partners[1]}: remove the one that is not meant"
            )
        pairs.append((path, partners[0]))
        partnered.add(partners[0])
    alone = [path for path in small if path not in partnered]
    if originals and small and len(alone) == len(small):
        raise UsageError(
            f"{hr} and {lr} look like pairs, but no file of one is called like any of the other "
            f"({originals[0].name}, {small[0].name}): rename the LR files like their originals"
        )
    return pairs + [((hr / bare(name(path, lr))).with_suffix(path.suffix), path) for path in alone]


def _by_suffix(row: BySuffix, files: Sequence[Path], folder: Path, scale: int, hint: str) -> Layout | None:
    """The pairs among ``files``, all of ``folder``, where there is at least one of each kind; else None.

    Raises:
        UsageError: there are pairs, and a file that is neither HR nor LR.
    """
    names = {path: re.fullmatch(row.name, path.stem, re.IGNORECASE) for path in files}
    matches = {path: match for path, match in names.items() if match}
    originals = {path: match for path, match in matches.items() if match["kind"].upper() in ("HR", "GT")}
    small = {path: match for path, match in matches.items() if match["kind"].upper().startswith(("LR", "LQ"))}
    if not originals or not small:
        return None
    if stranger := next((path for path, match in names.items() if match is None), None):
        pair = f"{next(iter(originals)).name} and {next(iter(small)).name}"
        raise UsageError(f"{folder} looks like pairs ({pair}), but {stranger.name} is neither HR nor LR; {hint}")

    def of_this_scale(match: re.Match[str]) -> bool:
        return match["scale"] in (None, str(scale))

    def named(path: Path, match: re.Match[str], kind: str) -> Path:
        start, end = match.span("kind")
        return path.with_name(path.stem[:start] + kind + path.stem[end:] + path.suffix)

    layout = Layout()
    left_out = [
        path
        for path, match in matches.items()
        if path not in originals and not (path in small and of_this_scale(match))
    ]
    hr_kind = next(iter(originals.values()))["kind"]
    lr_kind = next((match["kind"] for match in small.values() if of_this_scale(match)), None)
    by_stem = {match["stem"]: path for path, match in small.items() if of_this_scale(match)}
    for path, match in originals.items():
        if not of_this_scale(match):
            left_out.append(path)
        elif lr_kind is None:
            layout.pairs.append((path, None))
        else:
            layout.pairs.append((path, by_stem.pop(match["stem"], None) or named(path, match, lr_kind)))
    layout.pairs += [(named(path, small[path], hr_kind), path) for path in by_stem.values()]
    layout.left_out = sorted(left_out)
    if layout.pairs:
        layout.remarks = [
            f"…{hr_kind} with …{lr_kind}, by the ends of their names" if lr_kind else f"…{hr_kind}, LR is made"
        ]
    return layout


def _refuse_unknown_pairs(files: Sequence[Path], root: Path, hint: str) -> None:
    """Refuse files that look like pairs: of most groups that share a name, two show the same at sizes a scale apart.

    Raises:
        UsageError: they do.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        words = re.sub(_MARKS, "", path.stem)
        groups[re.sub(r"[\W_]+", "", words).casefold()].append(path)
    several = [group for group in groups.values() if len(group) > 1][:_GROUPS_COMPARED]
    apart = [pair for group in several if (pair := _differ_by_a_scale(group))]
    if apart and len(apart) * 2 > len(several):
        large, small = apart[0]
        raise UsageError(
            f"{root} looks like pairs, {large.relative_to(root)} being {small.relative_to(root)} in larger, "
            f"but in no layout that is known; {hint}"
        )


def _differ_by_a_scale(group: Sequence[Path]) -> tuple[Path, Path] | None:
    """Two of these files, the larger first, that show the same at sizes a scale apart; None if there are no such."""
    sizes: list[tuple[Path, int, int]] = []
    for path in group[:_MEMBERS_COMPARED]:
        try:
            height, width, _ = full_files.size_of(path, first_only=True)
            sizes.append((path, width, height))
        except (SRGANError, OSError):
            continue  # named where the picture is read
    for large, *of_large in sizes:
        for small, *of_small in sizes:
            if any([side // scale for side in of_large] == of_small for scale in SCALES) and _alike(large, small):
                return large, small
    return None


def _alike(large: Path, small: Path) -> bool:
    """Whether two files show the same. Different pictures may share a name: cameras count from 1."""
    try:
        first, second = (Image.fromarray(rgb8.read_picture(path).pixels).convert("L") for path in (large, small))
        side = min(16, *second.size)
        tiny = [np.asarray(each.resize((side, side))).astype(float) for each in (first.resize(second.size), second)]
    except SRGANError:
        return False
    return bool(np.abs(tiny[0] - tiny[1]).mean() < _ALIKE_LEVELS)
