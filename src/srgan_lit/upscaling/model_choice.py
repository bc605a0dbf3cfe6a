"""Which generator of the box suits a picture: ``--model auto``. By what is measured in its pixels, and no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from srgan_lit.common import reserved_names
from srgan_lit.model_files import box, generator_file
from srgan_lit.pictures import condition

AUTO = "auto"
CLEAN, TREATED = "srgan", "everyday"

# MODELS.md has what was measured at and around these.
BLOCK_STEP, BLOCK_RATIO = 1.8, 1.1
COLOUR_NOISE = 2.8
NOISE, UNEVENNESS = 3.2, 1.4

_NAMED = 3  # files of each model


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The name of a generator in the box, and why it was chosen."""

    name: str
    why: str


def is_auto(model: object) -> bool:
    """Whether this is the word for a choice by the picture.

    Raises:
        UsageError: there is a file or folder of this name, and it is not clear what is meant.
    """
    if model != AUTO:
        return False
    reserved_names.refuse_if_also_a_path(AUTO, "the choice by the picture")
    return True


def scale() -> int:
    """How many times larger every generator that may be chosen makes a picture; none is loaded for it."""
    return int(generator_file.read_metadata(box.path_of(CLEAN)).architecture["scale"])


def for_pixels(pixels: NDArray[Any]) -> Choice:
    """The choice for a picture (H, W, C), uint8, uint16 or floating point in [0, 1], C being 1 to 4."""
    measured = condition.measure(pixels)
    if measured.block_step > BLOCK_STEP and measured.block_ratio > BLOCK_RATIO:
        return Choice(name=TREATED, why=f"JPEG blocks, {measured.block_step:.1f} levels high")
    if measured.colour_noise > COLOUR_NOISE:
        return Choice(name=TREATED, why=f"noise of {measured.colour_noise:.1f} levels")
    if measured.noise > NOISE and measured.unevenness < UNEVENNESS:
        return Choice(name=TREATED, why=f"grey noise of {measured.noise:.1f} levels")
    return Choice(name=CLEAN, why="neither JPEG blocks nor noise")


def said(choices: Mapping[Path, Choice]) -> str:
    """Which model was taken for which files and why, in one line; of many files the first of each model."""
    parts = []
    for name in dict.fromkeys(choice.name for choice in choices.values()):
        files = [f"{path.name}: {choice.why}" for path, choice in choices.items() if choice.name == name]
        more = f"; and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        parts.append(f"{name} for {len(files)} ({'; '.join(files[:_NAMED])}{more})")
    return f"--model auto: {', '.join(parts)}"
