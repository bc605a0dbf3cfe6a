"""Which pictures there are: sets, albums and header checks. Pillow only, no torch.

A training set is CUFED (``input/`` and ``ref/``), a folder (any tree of pictures), the embedded sample, or what a
function of the user's own returns. A test set is a folder (also CUFED5's) or the embedded sample. ``layouts`` knows how
files lie in folders. LR files are used where they exist; else LR is made from HR.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan_lit.common import reserved_names, worker_processes
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config import own_parts
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import degradations, layouts, splits
from srgan_lit.pictures import bicubic, find, formats, full_files, rgb8

SAMPLE = Path(__file__).parents[1] / "sample"

PIL = "pil"  # Pillow's bicubic in the place of MATLAB's: one value in seven differs, and bicubic loses 0.01 dB on Set14

_SSIM_WINDOW = 11  # pixels: of its authors
_LISTED = 20  # files named in one error line; ``prepare`` names them all


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture file.

    Attributes:
        name: unique in its set.
        path: of the file.
        album: never split between training and validation.
        lr_path: its LR file; None where LR is made.
        validates: it is for validation, and not trained on; where one of a set is, those that are not are all trained
            on, and nothing else is held out.
        root: which of several ``data.root`` it comes from.
    """

    name: str
    path: Path
    album: str
    lr_path: Path | None = None
    validates: bool = False
    root: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Pictures to train on and validate with.

    Attributes:
        sources: sorted by name.
        understood: one line that says how ``data.root`` was understood; "" where nothing had to be.
        unreadable: one line for each folder that cannot be read, and that ``data.skip_bad`` leaves out.
    """

    sources: list[Source]
    understood: str = ""
    unreadable: list[str] = field(default_factory=list)


def _by_file(pictures: Sequence[Path], folder: Path, *, prefix: str = "") -> list[Source]:
    """One source for each of the ``pictures`` below ``folder``, each an album of its own."""
    names = [prefix + path.relative_to(folder).as_posix() for path in pictures]
    return [Source(name=name, path=path, album=name) for path, name in zip(pictures, names, strict=True)]


def _cufed(root: Path, *, use_ref: bool) -> TrainingSet:
    folders = layouts.find_cufed(root)
    if not folders:
        raise UsageError(
            f"data.root={root} holds no CUFED: no folder input/ there or in CUFED/ or train/. "
            f"Run python -m srgan_lit.prepare cufed --root {root}, or take data=folder for pictures of your own"
        )
    if use_ref and "ref" not in folders:
        raise UsageError(f"data.use_ref=true, but {root} has no folder ref/; leave data.use_ref out")
    contents = {part: find.contents(folder) for part, folder in folders.items() if part == "input" or use_ref}
    sources = [
        replace(source, album=layouts.cufed_album(source.path.name))
        for part, each in contents.items()
        for source in _by_file(each.pictures, folders[part], prefix=f"{part}/")
    ]
    return TrainingSet(sources=sources, unreadable=[line for each in contents.values() for line in each.unreadable])


def _folder(root: Path, config: DataConfig, scale: int | None, *, number: int) -> TrainingSet:
    """The pictures of one of the ``data.root``; with several, its ``number`` is part of the names."""
    layout = layouts.of_training(root, scale or 4, parts=config.reading > 1)
    if config.validation_root is not None and layout.validation:
        left_out = [*layout.left_out, *(hr for hr, _ in layout.validation)]
        remarks = [*layout.remarks[:-1], "data.validation_root is validated with instead"]
        layout = replace(layout, validation=[], left_out=left_out, remarks=remarks)
    understood = f"data.root={root}: {layout.understood(root)}"
    return _of_layout(layout, root, config, scale, understood, number=number)


def _of_layout(
    layout: layouts.Layout,
    root: Path,
    config: DataConfig,
    scale: int | None,
    understood: str,
    *,
    number: int = 0,
    prefix: str = "",
) -> TrainingSet:
    files_used = scale is not None and config.degradation == "bicubic"
    sources = []
    for validates, pairs in ((False, layout.pairs), (True, layout.validation)):
        for hr, lr in pairs:
            name = hr.relative_to(root).as_posix()
            sources.append(
                Source(
                    name=prefix + name,
                    path=hr,
                    # Without the prefix: a folder is split as it is where it is the only one.
                    album=layouts.photograph(name) if config.reading > 1 else name,
                    lr_path=lr if files_used else None,
                    validates=validates,
                    root=number,
                )
            )
    if config.degradation != "bicubic" and any(lr for _, lr in layout.pairs):
        understood += f"; data.degradation={config.degradation} makes LR, the LR files are passed over"
    return TrainingSet(sources=sources, understood=understood, unreadable=layout.unreadable)


def _validation(config: DataConfig, scale: int | None) -> TrainingSet:
    """The pictures of ``data.validation_root``."""
    assert config.validation_root is not None
    root = _test_folder(config.validation_root, "validation")
    layout = layouts.of_test(root, scale or 4)
    if not layout.pairs:
        raise layouts.nothing_there(root, layout.unreadable, f"no pictures there ({formats.LISTED})")
    understood = f"data.validation_root={root}: {layout.understood(root)}"
    layout = replace(layout, pairs=[], validation=layout.pairs)
    return _of_layout(layout, root, config, scale, understood, prefix="validation_root/")


def _sample_training() -> list[Source]:
    # raccoon_03.png is the fourth patch of one photograph: an album.
    folder = SAMPLE / "train"
    return [
        replace(source, album=source.path.stem.rsplit("_", 1)[0])
        for source in _by_file(find.contents(folder).pictures, folder)
    ]


def training_sources(config: DataConfig, scale: int | None = None) -> list[Source]:
    """``training_set``'s pictures alone."""
    return training_set(config, scale).sources


def training_set(config: DataConfig, scale: int | None = None) -> TrainingSet:
    """The pictures to train on and validate with.

    Args:
        config: where they are.
        scale: of the LR files that are used where a folder has them; None: LR is made of all.

    Raises:
        UsageError: ``data.root`` is missing, not a folder, or holds no pictures in the layout asked for; or it looks
            like pairs and it is not known which files are the originals; or a folder in it cannot be read and is not
            to be skipped.
        SRGANError: folders that cannot be read are to be skipped, and nothing is left.
    """
    if config.name == "sample":
        parts = [TrainingSet(sources=_sample_training())]
    elif config.name == "own":
        parts = [TrainingSet(sources=_own(config))]
    elif config.hr is not None or config.meta_info is not None:
        parts = [_named_by_user(config, scale)]
    elif config.name == "cufed":
        parts = [_cufed(_roots(config)[0], use_ref=config.use_ref)]
    else:
        parts = [_folder(root, config, scale, number=number) for number, root in enumerate(_roots(config))]
        if len(parts) > 1:
            parts = [
                replace(part, sources=[replace(each, name=f"{number}/{each.name}") for each in part.sources])
                for number, part in enumerate(parts, start=1)
            ]
    for part, root in zip(parts, config.roots or (config.hr or "",), strict=True):
        if not part.sources and not (part.unreadable and not config.skip_bad):
            raise layouts.nothing_there(
                Path(root).expanduser(), part.unreadable, f"no pictures there ({formats.LISTED})"
            )
    if config.validation_root is not None:
        parts.append(_validation(config, scale))
    unreadable = [line for part in parts for line in part.unreadable]
    if unreadable and not config.skip_bad:
        raise UsageError(
            f"data.root={config.root}: {listing(unreadable)}. "
            "Change its permissions, or leave it out with data.skip_bad=true"
        )
    return TrainingSet(
        sources=sorted((each for part in parts for each in part.sources), key=lambda source: source.name),
        understood="; ".join(part.understood for part in parts if part.understood),
        unreadable=unreadable,
    )


def _own(config: DataConfig) -> list[Source]:
    """What a function of the user's own returns, sorted by name.

    Raises:
        UsageError: it returns anything but sources, two of one name, or none.
    """
    sources = own_parts.instantiate(config.sources, "data.sources")
    if not isinstance(sources, list | tuple) or not all(isinstance(source, Source) for source in sources):
        raise UsageError("data.sources must be a function that returns a list of srgan_lit.data.sets.Source")
    repeated = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
    if repeated:
        raise UsageError(f"data.sources: two pictures have the name {repeated[0]}")
    if not sources:
        raise UsageError("data.sources: no pictures there")
    return sorted(sources, key=lambda source: source.name)


def _roots(config: DataConfig) -> list[Path]:
    if not config.roots:
        how = (
            "run python -m srgan_lit.prepare cufed, then pass data.root=<the folder it names>"
            if config.name == "cufed"
            else "pass data.root=<a folder of pictures>"
        )
        raise UsageError(f"data.root is not set: {how}; data=sample needs none")
    return [_folder_of(root, "data.root") for root in config.roots]


def _folder_of(given: str, key: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_dir():
        raise UsageError(
            f"{key}={given}: {'not a folder' if path.exists() else 'no such folder'}; pass {key}=<a folder of pictures>"
        )
    return path


def _named_by_user(config: DataConfig, scale: int | None) -> TrainingSet:
    """The pictures of ``data.hr`` and ``data.lr``, or those of ``data.root`` or ``data.hr`` that a list names."""
    hr = _roots(config)[0] if config.hr is None else _folder_of(config.hr, "data.hr")
    lr = None if config.lr is None else _folder_of(config.lr, "data.lr")
    if config.meta_info is not None:
        layout = layouts.of_list(Path(config.meta_info).expanduser(), hr, lr, scale or 4)
    else:
        layout = layouts.of_two_folders(hr, lr, scale or 4)
    return _of_layout(layout, hr, config, scale, f"{hr}: {layout.understood(hr)}")


def label(config: DataConfig) -> str:
    """The name of the set's packed cache: readable, and another for another set of pictures."""
    if config.name == "sample":
        return "sample"
    paths = [config.hr, config.lr, config.meta_info, config.validation_root, *config.roots]
    places = [str(Path(path).expanduser().resolve()) for path in paths if path is not None]
    kind = f"{config.name}-ref" if config.use_ref else config.name
    if config.name == "own":
        places.append(json.dumps(config.sources, sort_keys=True))
    else:
        name = Path(places[-1]).name
        kind += "-" + "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:40]
    return f"{kind}-{hashlib.sha256(os.fsencode(chr(0).join(places))).hexdigest()[:12]}"


def size_of(path: Path) -> tuple[int, int]:
    """Height and width, upright, from the header alone.

    Raises:
        SRGANError: no picture, or larger than Pillow's decompression-bomb limit.
    """
    try:
        height, width, _ = full_files.size_of(path, first_only=True)
    except (SRGANError, OSError, MemoryError) as error:
        raise SRGANError(rgb8.refusal(path, error)) from error
    if height * width > (Image.MAX_IMAGE_PIXELS or height * width):
        raise SRGANError(f"{path}: {width}x{height} pixels are over the limit of {Image.MAX_IMAGE_PIXELS:,}")
    return height, width


def load_pair(source: Source, scale: int) -> rgb8.Pair:
    """Decode a source: HR cropped to a multiple of ``scale``, and LR from its file or, without one, made.

    Raises:
        SRGANError: a file is no good, the picture is smaller than ``scale``, or HR and LR do not match.
    """
    hr = rgb8.read_picture(source.path)
    pixels = bicubic.crop_to_multiple(hr.pixels, scale)
    if not pixels.size:
        raise SRGANError(f"{source.path}: smaller than {scale}x{scale}, so there is no LR image of it")
    if source.lr_path is None:
        lr = bicubic.shrink(pixels, scale)
    else:
        lr = rgb8.read_picture(source.lr_path).pixels
        expected = (pixels.shape[0] // scale, pixels.shape[1] // scale)
        if lr.shape[:2] != expected:
            raise SRGANError(
                f"{source.lr_path}: {lr.shape[1]}x{lr.shape[0]}, but 1/{scale} of its HR is {expected[1]}x{expected[0]}"
            )
    return rgb8.Pair(name=source.name, lr=lr, hr=pixels, grey=hr.grey, content=rgb8.content(hr.pixels))


def _shrunk_by_pillow(hr: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """``hr`` (H, W, 3), of sides that ``scale`` divides, shrunk as SRNTT's and TTSR's code does."""
    sides = (hr.shape[1] // scale, hr.shape[0] // scale)
    return np.asarray(Image.fromarray(hr).resize(sides, Image.Resampling.BICUBIC))


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Pictures to test on. ``load`` decodes one and raises ``SRGANError`` for that one only.

    Attributes:
        name: as tables show it.
        sources: the files.
        scale: of LR.
        understood: one line that says how their folder was understood; "" where nothing had to be.
        unreadable: one line for each folder in it that cannot be read; its pictures are not in the set.
        degradation: how LR is made: any but bicubic makes it from HR, files of LR or not; ``pil`` is Pillow's bicubic
            instead of MATLAB's.
        benchmark: CUFED5 where the set is that one, which papers score in ``y_full``; else "".
        caption: why its scores cannot be compared with those of papers; or "".
    """

    __test__ = False  # not a pytest class

    name: str
    sources: tuple[Source, ...]
    scale: int
    understood: str = ""
    unreadable: tuple[str, ...] = ()
    degradation: str = "bicubic"
    benchmark: str = ""
    caption: str = ""

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def names(self) -> list[str]:
        """In the order of ``load``: relative paths, without the suffix where that is unique."""
        return [source.name for source in self.sources]

    @property
    def albums(self) -> list[str]:
        """Likewise, what each picture comes from."""
        return [source.album for source in self.sources]

    def load(self, index: int) -> rgb8.Pair:
        """HR (cropped to a multiple of the scale) and LR of picture ``index``."""
        source = self.sources[index]
        if self.degradation == "bicubic":
            return load_pair(source, self.scale)
        pair = load_pair(replace(source, lr_path=None), self.scale)
        if self.degradation == PIL:
            return replace(pair, lr=_shrunk_by_pillow(pair.hr, self.scale))
        made = degradations.degraded_pair(pair, file=source.album, kind=self.degradation, scale=self.scale)
        return replace(made, content=pair.content)

    def held_out(self, share: float) -> "TestSet":
        """Those of its pictures whose albums are held out by their hash.

        Raises:
            UsageError: it has fewer than two.
        """
        if len({source.album for source in self.sources}) < 2:
            raise UsageError(f"{self.name}: {len(self)} picture is too few to hold some out")
        albums = splits.held_out((source.album for source in self.sources), share)
        return replace(self, sources=tuple(source for source in self.sources if source.album in albums))


def embedded(scale: int) -> TestSet:
    """The test pictures in the box."""
    folder = SAMPLE / "test"
    sources = _short_names(_by_file(find.contents(folder).pictures, folder))
    return TestSet(name="sample", sources=tuple(sources), scale=scale)


def test_pairs(folder: str | Path, scale: int) -> TestSet:
    """The test set in ``folder``, in any layout that ``layouts`` knows; a folder of pictures is all originals.

    The bare string ``sample`` is the embedded one; ``./sample``, or any ``Path``, is what is there.

    Raises:
        UsageError: no such folder, no pictures in it, what looks like pairs and is in no known layout; or
            ``sample``, where a folder has that name too.
        SRGANError: the folder cannot be read.
    """
    if folder == "sample":
        reserved_names.refuse_if_also_a_path(folder, "the set in the box")
        return embedded(scale)
    root = _test_folder(folder)
    layout = layouts.of_test(root, scale)
    return _test_set(root, layout, scale)


def held_out_pairs(folder: str | Path, scale: int, share: float) -> TestSet:
    """The pictures in ``folder`` that a training with ``data.validation_share=share`` on it holds out.

    Of CUFED, those of whole albums, and none of its references; of a folder with parts, those for validation.

    Raises:
        As ``test_pairs``; UsageError also where there are fewer than two albums.
    """
    test_set = test_pairs(folder, scale)
    if folder == "sample":
        return test_set.held_out(share)
    root = _test_folder(folder)
    cufed = _cufed(root, use_ref=False) if layouts.find_cufed(root) else TrainingSet(sources=[])
    if cufed.sources and all(each.album != each.path.name for each in cufed.sources):
        sources = _joined(cufed.sources)
        test_set = replace(test_set, understood="CUFED", unreadable=tuple(cufed.unreadable))
        return replace(test_set, sources=tuple(_short_names(sources))).held_out(share)
    training = training_set(DataConfig(name="folder", root=str(root), skip_bad=True), scale).sources
    held_out = [each for each in training if each.validates]
    if not held_out:
        held_out = list(replace(test_set, sources=tuple(_joined(training))).held_out(share).sources)
    # By the names that a training has: what degrades LR is drawn by them.
    names = {each.path: each.name for each in held_out}
    return replace(
        test_set,
        sources=tuple(
            replace(each, album=names[each.path]) for each in test_set.sources if each.path in names
        ),
    )  # fmt: skip


def _joined(sources: Sequence[Source]) -> list[Source]:
    """The same, with albums that hold the same picture as one: every file is decoded."""
    tasks = [source.path for source in sources]
    contents = worker_processes.over(content_of, tasks, doing="comparing", in_processes=len(tasks) > 50)
    known = {source.name: content for source, (_, content) in zip(sources, contents, strict=True) if content}
    albums = splits.joined({source.name: source.album for source in sources}, known)
    return [replace(source, album=albums[source.name]) for source in sources]


def content_of(path: Path) -> str:
    """What a file shows (``rgb8.content``); "" where it cannot be read."""
    try:
        return rgb8.content(rgb8.read_picture(path).pixels)
    except SRGANError:
        return ""


def test_pairs_of_two(hr: str | Path, lr: str | Path | None, scale: int) -> TestSet:
    """All pictures of ``hr`` as originals, with their LR files in ``lr``; without ``lr``, LR is made.

    Raises:
        UsageError: no such folder, no pictures, or none that belong together.
        SRGANError: the folder cannot be read.
    """
    originals, small = _test_folder(hr), None if lr is None else _test_folder(lr)
    return _test_set(originals, layouts.of_two_folders(originals, small, scale), scale)


def _test_folder(folder: str | Path, kind: str = "test") -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UsageError(f"{folder}: {'not a folder' if path.exists() else 'no such folder'} of {kind} pictures")
    return path


def _test_set(root: Path, layout: layouts.Layout, scale: int) -> TestSet:
    if not layout.pairs:
        raise layouts.nothing_there(root, layout.unreadable, f"no pictures there ({formats.LISTED})")
    above = Path(os.path.commonpath([hr.parent for hr, _ in layout.pairs])) if layout.remarks else root
    names = [hr.relative_to(above).as_posix() for hr, _ in layout.pairs]
    sources = [
        Source(name=name, path=hr, album=name, lr_path=lr) for name, (hr, lr) in zip(names, layout.pairs, strict=True)
    ]
    return TestSet(
        name=root.resolve().name,
        sources=tuple(_short_names(sources)),
        scale=scale,
        understood=layout.understood(root),
        unreadable=tuple(layout.unreadable),
        benchmark=layout.benchmark,
        caption=layout.caption,
    )


def _short_names(sources: Sequence[Source]) -> list[Source]:
    """The same, named without the suffix where that is unique."""
    stems = [Path(source.name).with_suffix("").as_posix() for source in sources]
    count = Counter(stems)
    return [
        replace(source, name=stem) if count[stem] == 1 else source for source, stem in zip(sources, stems, strict=True)
    ]


def listing(bad: Sequence[str]) -> str:
    """The first of ``bad`` and how many more there are, in one line."""
    more = f"; and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
    return "; ".join(bad[:_LISTED]) + more


def least_side(config: DataConfig, scale: int, source: Source) -> int:
    """Pixels of HR that a side of a picture must have: what SSIM needs inside the protocol's border, and a crop."""
    return max(0 if source.validates else config.crop, 2 * scale + _SSIM_WINDOW)


def check_crop(config: DataConfig, scale: int) -> None:
    """Refuse a crop that LR pixels do not fill.

    Raises:
        UsageError: it is no multiple of the scale.
    """
    if config.crop % scale:
        fitting = max(scale, config.crop // scale * scale)
        raise UsageError(f"data.crop={config.crop} is not a multiple of model.scale={scale}; take data.crop={fitting}")


def check(config: DataConfig, scale: int, *, set_by_user: Collection[str] = ()) -> None:
    """Refuse what training could not use, from file names and headers alone: before anything heavy is loaded.

    Args:
        config: what to use.
        scale: of LR.
        set_by_user: keys of the command line.

    Raises:
        UsageError: ``data.root`` or ``data.test_root`` has nothing to use, the crop does not fit the scale or
            the smallest picture, there is nothing to hold out, files or folders are unreadable and not to be skipped,
            or no degradation has this name.
    """
    degradations.check(config.degradation)
    check_crop(config, scale)
    if config.test_root is not None:
        test_pairs(config.test_root, scale)
    good, bad, small = [], [], []
    training = training_set(config, scale)
    if "data.validation_share" in set_by_user and any(source.validates for source in training.sources):
        raise UsageError(f"data.validation_share has no effect ({training.understood}): leave it out")
    for source in training.sources:
        try:
            height, width = size_of(source.path)
        except SRGANError as error:
            bad.append(str(error))
            continue
        if min(height, width) // scale * scale < least_side(config, scale, source):
            small.append((min(height, width), f"{source.path} is {width}x{height}"))
        else:
            good.append(source)
    if bad and not config.skip_bad:
        raise UsageError(
            f"{len(bad)} of the pictures cannot be read: {listing(bad)}. "
            "Replace them, or leave them out with data.skip_bad=true"
        )
    if small and not config.skip_bad:
        least, message = min(small)
        scored = 2 * scale + _SSIM_WINDOW
        ways = [f"data.crop={least // scale * scale}"] if least // scale * scale >= scored else []
        ways += ["leave them out with data.skip_bad=true"] if good else []
        what = f"data.crop={config.crop}" if config.crop >= scored else f"{scored} pixels, as scores at x{scale} need,"
        raise UsageError(
            f"{what} is larger than {len(small)} of the pictures; the smallest, {message}. "
            f"Try {' or '.join(ways) or 'larger pictures'}"
        )
    roles = {source.validates for source in good}
    if len(roles) < 2 and (roles != {False} or len({source.album for source in good}) < 2):
        where = "sources" if config.name == "own" else f"root={config.root}"
        raise UsageError(
            f"{len(good)} usable pictures in data.{where} are not enough: at least two "
            "(of CUFED: of two albums), one to train on and one to validate with"
        )
