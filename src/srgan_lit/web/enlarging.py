"""What the process that enlarges does: the models it has, and pictures as ``srgan-upscale`` does. No HTTP, no queue."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srgan_lit.common.errors import SRGANError
from srgan_lit.model_files import box
from srgan_lit.pictures import full_files
from srgan_lit.pictures.full_files import Frame, Pixels
from srgan_lit.upscaling import engine, model_choice, named_models, picture_frames
from srgan_lit.upscaling.target_sizes import TargetSize
from srgan_lit.web import limits
from srgan_lit.web.children import Tell
from srgan_lit.web.limits import Held
from srgan_lit.web.preview import Preview

_DATED = re.compile(r"(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-\d\d")  # how run directories are called


@functools.lru_cache(maxsize=4)
def _enlarger(
    model: str, *, given: bool, device: str, fidelity: float | None, match_input: bool, self_ensemble: bool
) -> tuple[engine.Enlarger, float]:
    """What enlarges, and its seconds for a pixel."""
    # A folder with the name of a model in the box is taken only where --model named it.
    made = engine.Enlarger(
        named_models.load(model if given else box.path_of(model), fidelity=fidelity),
        device=engine.pick_device(device),
        match_input=match_input,
        self_ensemble=self_ensemble,
    )
    return made, engine.seconds_per_pixel(made)


def offers(_tell: Tell, _held: Held, *, models: list[str], device: str) -> dict[str, Any]:
    """The kind of ``device``, and of each model, ``models`` first, its name, its name for people, if it can be blended.

    Raises:
        SRGANError: one of ``models`` cannot be loaded, or the device is not on this machine.
    """
    kind = engine.pick_device(device).type
    made: dict[str, str] = {}
    for name in dict.fromkeys([*models, model_choice.AUTO, *box.GENERATORS]):
        label = _label(name)
        made[name] = f"{label} ({name})" if label in made.values() else label
    offered = [(name, label, _blends(name, given=name in models)) for name, label in made.items()]
    return {"device": kind, "models": offered}


def _label(name: str) -> str:
    """The name of the model ``name`` for people."""
    path = Path(name)
    if boxed := box.name_of(name):
        return f"{box.GENERATORS[boxed].label} ({boxed})"
    if name == model_choice.AUTO:
        return "Automatic: looks at the picture"
    if name == "bicubic":
        return "Plain: no network (bicubic)"
    if path.is_file() and path.stem in ("generator", "srresnet", "last") and path.parent.name:
        inside = path.parent.parent if path.parent.name == "checkpoints" else path.parent
        return f"{_label(str(inside))}, {path.name}"
    name = path.resolve().name
    if dated := _DATED.fullmatch(name):
        return f"{path.resolve().parent.name}, trained {dated[1]} at {dated[2]}:{dated[3]}"
    return path.stem if path.is_file() else name


def _blends(model: str, *, given: bool) -> bool:
    """Whether a model can be blended with its SRResNet; one that was ``given`` is loaded to see, others when used.

    Raises:
        SRGANError: it cannot be loaded.
    """
    if model == model_choice.AUTO:
        return True
    if not given:
        return bool(box.GENERATORS[model].faithful)
    named_models.load(model)
    try:
        named_models.load(model, fidelity=0)
    except SRGANError:
        return False
    return True


def enlarge(
    tell: Tell,
    held: Held,
    *,
    folder: str,
    source: str,
    result: str,
    size: dict[str, Any],
    max_pixels: int,
    model: str,
    given: bool,
    **options: Any,
) -> None:
    """Make ``result`` of ``source``, and beside it ``before.png`` and ``after.png``, the first frame for the slider.

    Tells ``progress`` from 0 to 1, ``facts``, ``choice`` and for each frame how many more ``seconds`` it may take.

    Args:
        tell: see ``children``.
        held: to limits that are raised for each frame.
        folder: of all files.
        source: name of the picture.
        result: name of the enlarged one, to be made.
        size: the fields of a ``TargetSize``.
        max_pixels: of all frames together.
        model: its name.
        given: whether ``--model`` named it, and not the box.
        options: as ``_enlarger``.

    Raises:
        SRGANError: the picture is damaged, too large, or does not fit into the format.
    """
    inside, wanted = Path(folder), TargetSize(**size)
    target = inside / result
    facts: dict[str, int] = {}
    current = area = done = total = 0

    def begin(number: int, pixels: Pixels) -> None:
        nonlocal current, area, done, total
        height, width = pixels.shape[:2]
        current, area, done = number, height * width, 0
        total += area
        if total > max_pixels:  # pages of a TIFF have sizes of their own
            raise SRGANError(f"its pages together are over the limit of {max_pixels / 1e6:g} million pixels")
        result_height, result_width = wanted.of(height, width, own_scale=enlarger.scale)
        frames = opened.info.frames
        more = limits.of_frame(area, result_height * result_width, seconds_per_pixel, frames=frames)
        held.longer(more)
        if number == 0:
            facts.update(width=width, height=height, frames=frames, scale=enlarger.scale)
            facts.update(result_width=result_width, result_height=result_height)
            before = Preview(height, width)
            before.add(pixels)
            before.save(inside / "before.png", opened.info.icc_profile)
        tell({"facts": facts, "seconds": more.seconds})

    def advance(count: int) -> None:
        nonlocal done
        done += count
        tell({"progress": (current + done / area) / opened.info.frames})

    with full_files.opened(inside / source, max_pixels=max_pixels, together=True) as opened:
        if model == model_choice.AUTO:
            choice = model_choice.for_pixels(opened.frame(0))
            model, given = choice.name, False
            tell({"choice": f"{choice.name}: {choice.why}"})
        enlarger, seconds_per_pixel = _enlarger(model, given=given, **options)
        suffix = target.suffix
        frames = picture_frames.frames(opened, enlarger, suffix, size=wanted, on_frame=begin, on_progress=advance)
        full_files.write(target, _with_preview(frames, inside / "after.png", opened.info.icc_profile), opened.info)
    tell({"facts": facts | {"bytes": target.stat().st_size}})


def _with_preview(frames: Iterator[Frame], path: Path, icc_profile: bytes | None) -> Iterator[Frame]:
    """The same frames. A preview of the first is written to ``path`` when its last band is used."""

    def kept(frame: Frame) -> Iterator[Pixels]:
        after = Preview(*frame.shape[:2])
        for band in frame.bands:
            after.add(band)
            yield band
        after.save(path, icc_profile)

    for number, frame in enumerate(frames):
        yield frame if number else dataclasses.replace(frame, bands=kept(frame))
