"""The models that the page offers, and how a job's picture is enlarged: as ``srgan-upscale`` does. No HTTP."""

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan_lit.common.errors import SRGANError
from srgan_lit.model_files import box
from srgan_lit.pictures import full_files
from srgan_lit.pictures.full_files import Frame, Pixels
from srgan_lit.upscaling import engine, model_choice, named_models, picture_frames
from srgan_lit.upscaling.target_sizes import TargetSize
from srgan_lit.web.jobs import Job, Options
from srgan_lit.web.preview import Preview

_DATED = re.compile(r"(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-\d\d")  # how run directories are called


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A model on the page: its name for people, and whether it can be blended with its SRResNet."""

    label: str
    blends: bool


class Work:
    """Enlarges pictures of jobs.

    Attributes:
        models: what is on offer by name, the first one preselected.

    Raises:
        SRGANError: a model cannot be loaded.
    """

    def __init__(self, models: Sequence[str], *, device: str, max_pixels: int) -> None:
        chosen = engine.pick_device(device)
        # A folder with the name of a model in the box is taken only where --model named it.
        files: dict[str, str | Path] = {name: box.path_of(name) for name in box.GENERATORS}
        files |= {name: name for name in models}
        self.models: dict[str, Offer] = {}
        for name in dict.fromkeys([*models, model_choice.AUTO, *box.GENERATORS]):
            label = _label(name)
            if any(label == other.label for other in self.models.values()):
                label = f"{label} ({name})"
            self.models[name] = Offer(label=label, blends=_blends(name, given=name in models))
        self.max_pixels = max_pixels

        @functools.lru_cache(maxsize=4)
        def enlarger(options: Options) -> engine.Enlarger:
            return engine.Enlarger(
                named_models.load(files[options.model], fidelity=options.fidelity),
                device=chosen,
                match_input=options.match_input,
                self_ensemble=options.self_ensemble,
            )

        self._enlarger = enlarger

    def check(self, path: Path) -> int:
        """How many pixels the picture at ``path`` has, with all frames, as its header says.

        Raises:
            SRGANError: it is no picture, or too large a one.
        """
        with full_files.opened(path, max_pixels=self.max_pixels, together=True) as opened:
            return opened.pixels

    def __call__(self, job: Job) -> None:
        """Make ``job.result``, and beside it ``before.png`` and ``after.png``, the first frame for the slider.

        Raises:
            SRGANError: the picture is damaged, too large, or does not fit into the format.
            Cancelled: nobody waits for it any more.
        """
        size = job.options.size
        options = dataclasses.replace(job.options, size=TargetSize())
        current = area = done = total = 0

        def begin(number: int, pixels: Pixels) -> None:
            nonlocal current, area, done, total
            current, area, done = number, pixels.shape[0] * pixels.shape[1], 0
            total += area
            if total > self.max_pixels:  # pages of a TIFF have sizes of their own
                raise SRGANError(f"its pages together are over the limit of {self.max_pixels / 1e6:g} million pixels")
            if number == 0:
                height, width = pixels.shape[:2]
                result_height, result_width = size.of(height, width, own_scale=enlarger.scale)
                job.facts = {"width": width, "height": height, "frames": opened.info.frames, "scale": enlarger.scale}
                job.facts |= {"result_width": result_width, "result_height": result_height}
                before = Preview(height, width)
                before.add(pixels)
                before.save(job.folder / "before.png", opened.info.icc_profile)
            job.go_on()

        def advance(count: int) -> None:
            nonlocal done
            done += count
            job.progress = (current + done / area) / opened.info.frames
            job.go_on()

        with full_files.opened(job.source, max_pixels=self.max_pixels, together=True) as opened:
            if options.model == model_choice.AUTO:
                choice = model_choice.for_pixels(opened.frame(0))
                options = dataclasses.replace(options, model=choice.name)
                job.choice = f"{choice.name}: {choice.why}"
            enlarger = self._enlarger(options)
            frames = picture_frames.frames(opened, enlarger, job.suffix, size=size, on_frame=begin, on_progress=advance)
            kept_frames = _with_preview(frames, job.folder / "after.png", opened.info.icc_profile)
            full_files.write(job.result, kept_frames, opened.info)
        job.facts["bytes"] = job.result.stat().st_size


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
    """Whether a model can be blended; one that was ``given`` is loaded to see, one in the box not before it is used.

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
