"""Which pictures there are: layouts, albums and header checks. Pillow only, no torch.

A training set is CUFED (``input/`` and ``ref/``), a folder (any tree of pictures) or the embedded sample. A
test set is a folder with ``HR/`` (and ``LRx4/`` beside it), CUFED5's ``000_0.png … 125_5.png``, any other
folder of pictures, or ``sample``. LR files are used where they exist; else LR is made from HR.
"""

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.pictures import bicubic, find, formats, rgb8

SAMPLE = Path(__file__).parents[1] / "sample"

# Where authors' archives and other projects put the same files.
CUFED_PLACES = ("", "CUFED", "train", "CUFED/train", "train/CUFED")
CUFED5_PLACES = ("", "CUFED5", "test", "test/CUFED5", "CUFED5/test")
CUFED5_NAME = re.compile(r"\d{3}_[0-5]\.png")
_CUFED_ALBUM = re.compile(r"\d+@N\d+_\d+")  # Flickr user id and event number
_LISTED = 20  # bad files named in one error line; ``prepare`` names them all


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture file. ``name`` is unique in its set; an ``album`` is never split between training and validation."""

    name: str
    path: Path
    album: str
    lr_path: Path | None = None


def _by_file(folder: Path, *, prefix: str = "") -> list[Source]:
    """One source per picture below ``folder``, each an album of its own."""
    names = [(path, prefix + path.relative_to(folder).as_posix()) for path in find.pictures(folder)]
    return [Source(name=name, path=path, album=name) for path, name in names]


def find_cufed(root: Path) -> Path | None:
    """The folder that holds CUFED's ``input/``, in any of the known layouts below ``root``; None if there is none."""
    return next((root / place for place in CUFED_PLACES if (root / place / "input").is_dir()), None)


def find_cufed5(root: Path) -> Path | None:
    """The folder that holds CUFED5's ``000_0.png …``, in any of the known layouts; None if there is none."""
    for place in CUFED5_PLACES:
        folder = root / place
        if folder.is_dir() and any(CUFED5_NAME.fullmatch(path.name) for path in folder.iterdir()):
            return folder
    return None


def cufed_album(name: str) -> str:
    """The album of a CUFED patch, such as ``7595161@N07_31``; a name without one is an album of its own."""
    match = _CUFED_ALBUM.search(name)
    return match[0] if match else name


def _cufed(root: Path, *, use_ref: bool) -> list[Source]:
    folder = find_cufed(root)
    if folder is None:
        raise UsageError(
            f"data.root={root} holds no CUFED: no folder input/ there or in CUFED/ or train/. "
            f"Run python -m srgan_lit.prepare cufed --root {root}, or take data=folder for pictures of your own"
        )
    parts = ["input"]
    if use_ref:
        if not (folder / "ref").is_dir():
            raise UsageError(f"data.use_ref=true, but {folder} has no folder ref/; leave data.use_ref out")
        parts.append("ref")
    return [
        Source(name=source.name, path=source.path, album=cufed_album(source.path.name))
        for part in parts
        for source in _by_file(folder / part, prefix=f"{part}/")
    ]


def _sample_training() -> list[Source]:
    # raccoon_03.png is the fourth patch of one photograph: an album.
    return [
        Source(name=source.name, path=source.path, album=source.path.stem.rsplit("_", 1)[0])
        for source in _by_file(SAMPLE / "train")
    ]


def training_sources(config: DataConfig) -> list[Source]:
    """The pictures to train on and validate with, sorted.

    Raises:
        UsageError: ``data.root`` is missing, not a folder, or holds no pictures in the layout asked for.
    """
    if config.name == "sample":
        return _sample_training()
    root = _root(config)
    found = _cufed(root, use_ref=config.use_ref) if config.name == "cufed" else _by_file(root)
    if not found:
        raise UsageError(f"data.root={root}: no pictures there ({formats.LISTED})")
    return found


def _root(config: DataConfig) -> Path:
    if config.root is None:
        how = (
            "run python -m srgan_lit.prepare cufed, then pass data.root=<the folder it names>"
            if config.name == "cufed"
            else "pass data.root=<a folder of pictures>"
        )
        raise UsageError(f"data.root is not set: {how}; data=sample needs none")
    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise UsageError(
            f"data.root={config.root}: {'not a folder' if root.exists() else 'no such folder'}; "
            "pass data.root=<a folder of pictures>"
        )
    return root


def label(config: DataConfig) -> str:
    """The name of the set's packed cache: readable, and another for another set of pictures."""
    if config.name == "sample":
        return "sample"
    assert config.root is not None
    root = Path(config.root).expanduser().resolve()
    readable = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in root.name)[:40]
    kind = f"{config.name}-ref" if config.use_ref else config.name
    return f"{kind}-{readable}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:12]}"


def size_of(path: Path) -> tuple[int, int]:
    """Height and width as stored (a camera's rotation not applied), from the header alone.

    Raises:
        SRGANError: no picture, or larger than Pillow's decompression-bomb limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with rgb8.open_image(path) as opened:
                return opened.height, opened.width
    except Exception as error:  # as in read_picture
        reason = str(error).replace(f" {str(path)!r}", "").strip() or type(error).__name__
        raise SRGANError(f"{path}: not a readable picture ({reason})") from error


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
    return rgb8.Pair(name=source.name, lr=lr, hr=pixels, grey=hr.grey)


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Pictures to test on. ``load`` decodes one and raises ``SRGANError`` for that one only."""

    __test__ = False  # not a pytest class

    name: str
    sources: tuple[Source, ...]
    scale: int

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def names(self) -> list[str]:
        """In the order of ``load``: relative paths, without the suffix where that is unique."""
        return [source.name for source in self.sources]

    def load(self, index: int) -> rgb8.Pair:
        """HR (cropped to a multiple of the scale) and LR of picture ``index``."""
        return load_pair(self.sources[index], self.scale)


def test_pairs(folder: str | Path, scale: int) -> TestSet:
    """The test set in ``folder``: ``HR/`` with or without ``LRx<scale>/``, CUFED5, or any tree of pictures.

    ``sample`` (where no folder has that name) is the embedded one. Of a folder of pictures, each is HR.

    Raises:
        UsageError: no such folder, or no pictures in it.
    """
    folder = Path(folder).expanduser()
    name = folder.resolve().name
    if str(folder) == "sample" and not folder.exists():
        folder = SAMPLE / "test"
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'} of test pictures")
    cufed5 = find_cufed5(folder)
    if (folder / "HR").is_dir():
        small = folder / f"LRx{scale}"
        found = _by_file(folder / "HR")
        if small.is_dir():
            found = _with_lr(found, small, scale)
    elif cufed5 is not None:
        found = [source for source in _by_file(cufed5) if re.fullmatch(r"\d{3}_0\.png", source.name)]
    else:
        found = _by_file(folder)
    if not found:
        raise UsageError(f"{folder}: no pictures there ({formats.LISTED})")
    return TestSet(name=name, sources=tuple(_short_names(found)), scale=scale)


def _with_lr(found: list[Source], small: Path, scale: int) -> list[Source]:
    """Give each HR source its LR file, of the same name or with ``x4`` after it; one without fails on loading."""
    files = {path.relative_to(small).with_suffix("").as_posix(): path for path in find.pictures(small)}
    paired = []
    for source in found:
        stem = str(Path(source.name).with_suffix(""))
        lr_path = files.get(stem) or files.get(f"{stem}x{scale}") or small / source.name
        paired.append(Source(name=source.name, path=source.path, album=source.album, lr_path=lr_path))
    return paired


def _short_names(found: list[Source]) -> list[Source]:
    stems = [Path(source.name).with_suffix("").as_posix() for source in found]
    count = Counter(stems)
    return [
        Source(
            name=stem if count[stem] == 1 else source.name,
            path=source.path,
            album=source.album,
            lr_path=source.lr_path,
        )
        for source, stem in zip(found, stems, strict=True)
    ]


def listing(bad: Sequence[str]) -> str:
    """The first of ``bad`` and how many more there are, in one line."""
    more = f"; and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
    return "; ".join(bad[:_LISTED]) + more


def check(config: DataConfig, scale: int) -> None:
    """Refuse what training could not use, from file names and headers alone: before anything heavy is loaded.

    Raises:
        UsageError: ``data.root`` or ``data.test_root`` has nothing to use, the crop does not fit the scale or
            the smallest picture, there is nothing to hold out, or files are unreadable and not to be skipped.
    """
    if config.crop % scale:
        fitting = max(scale, config.crop // scale * scale)
        raise UsageError(f"data.crop={config.crop} is not a multiple of model.scale={scale}; take data.crop={fitting}")
    if config.test_root is not None:
        test_pairs(config.test_root, scale)
    good, bad, small = [], [], []
    for source in training_sources(config):
        try:
            height, width = size_of(source.path)
        except SRGANError as error:
            bad.append(str(error))
            continue
        if min(height, width) // scale * scale < config.crop:
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
        ways = [f"data.crop={least // scale * scale}"] if least >= scale else []
        ways += ["leave them out with data.skip_bad=true"] if good else []
        raise UsageError(
            f"data.crop={config.crop} is larger than {len(small)} of the pictures; the smallest, {message}. "
            f"Try {' or '.join(ways) or 'larger pictures'}"
        )
    if len({source.album for source in good}) < 2:
        raise UsageError(
            f"{len(good)} usable pictures in data.root={config.root} are not enough: at least two "
            "(of CUFED: of two albums), one to train on and one to validate with"
        )
