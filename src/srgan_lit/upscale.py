"""Enlarge picture files: ``python -m srgan_lit.upscale IN [IN …] -o OUT``. In a program: ``srgan_lit.enlarge``."""

import argparse
import contextlib
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_lit.common import command_line, freed_memory, machine_errors
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.common.numbers import whole_number
from srgan_lit.common.progress import Progress, duration
from srgan_lit.pictures import find, formats, video_files
from srgan_lit.upscaling.plan import Job, Plan, plan
from srgan_lit.upscaling.target_sizes import TargetSize

if TYPE_CHECKING:
    from srgan_lit.upscaling.engine import Enlarger, Pixels
    from srgan_lit.upscaling.model_choice import Choice

_LARGE_MEGAPIXELS = 100  # of a result: announced before it is computed, with a way to a smaller one
_LONG_SECONDS = 60
_SHORT_MEGAPIXELS = 1  # of all inputs together: no estimate is worth its trial
_TRIED = 8  # pictures of many, whose models the estimate goes by


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "upscale",
        "Enlarge pictures with a trained generator: four times, if no other size is asked for. Transparency, 16 bits, "
        "grey, animation, colour profile and EXIF stay. Of videos, so do times, sound and subtitles.",
        epilog="A name that begins with a dash goes after --, as in: srgan-upscale -o large -- -portrait.png",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="picture, video, pattern such as '*.jpg', or folder (all pictures in it and below it, no videos)",
    )
    parser.add_argument(
        "--list-models", action=_ListModels, nargs=0, help="say which models are in the box and when to take which"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder; or a file, for one picture or video (default: photo_x4.png beside photo.png, photos_x4/ beside "
        "photos/)",
    )
    parser.add_argument(
        "--suffix", metavar="TEXT", help="put after the name of each result (default: _x4 where there is no -o)"
    )
    parser.add_argument(
        "--model",
        help="auto: for each picture everyday or srgan, by its JPEG blocks and noise (default); a name in the box "
        "(--list-models), .safetensors, run directory, .ckpt, or bicubic",
    )
    command_line.add_network(parser)
    sizes = parser.add_argument_group(
        "size", "the model always enlarges by its own scale (4); what is asked for is made of that by bicubic reduction"
    )
    sizes.add_argument(
        "--scale", type=command_line.positive, metavar="X", help="times height and width, up to the model's own"
    )
    sizes.add_argument("--width", type=_pixels, metavar="PX", help="of the result; the height follows")
    sizes.add_argument("--height", type=_pixels, metavar="PX", help="likewise; with --width: fit into both")
    sizes.add_argument("--max-side", type=_pixels, metavar="PX", help="no side longer than that")
    sizes.add_argument(
        "--megapixels", type=command_line.positive, metavar="N", help="no more than so many million pixels"
    )
    parser.add_argument(
        "--fidelity",
        type=command_line.share(),
        metavar="0..1",
        help="between detail that is invented (0, the model itself) and a softer result that invents nothing (1): "
        "blends the weights with those of its SRResNet (of srgan it is srresnet, of everyday everyday-faithful)",
    )
    parser.add_argument(
        "--match-input", action="store_true", help="hold the input's colours: the result, shrunk, is the input"
    )
    parser.add_argument("--self-ensemble", action="store_true", help="mean over 8 flips and rotations; 8 times slower")
    parser.add_argument(
        "--format",
        choices=sorted(suffix[1:] for suffix in formats.WRITTEN),
        help="of pictures (default: each input's; of HEIC, jpg)",
    )
    parser.add_argument(
        "--quality", type=_quality, metavar="1..100", help="of JPEG (default: 95), WebP (95) and AVIF (90)"
    )
    parser.add_argument("--lossless", action="store_true", help="WebP without loss; other lossy formats are refused")
    exists = parser.add_mutually_exclusive_group()
    exists.add_argument("--overwrite", action="store_true", help="replace results that exist (default: refuse)")
    exists.add_argument("--skip-existing", action="store_true", help="leave results that exist, do the others")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="of the computation (default: float32); bfloat16 is faster where the processor has it",
    )
    parser.add_argument(
        "--tile", type=_tile, default="auto", metavar="auto|N|0", help="tile side in input pixels; 0: whole pictures"
    )
    parser.add_argument(
        "--max-megapixels",
        type=command_line.positive,
        default=200,
        metavar="N",
        help="refuse larger inputs as decompression bombs (default: 200)",
    )
    return parser


class _ListModels(argparse.Action):
    """Prints the table and ends, as ``--version`` does, whatever other arguments are missing."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from srgan_lit.model_files import box

        print(box.table())  # noqa: T201
        parser.exit()


def _pixels(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 < (pixels := whole_number(text)) < 1_000_000:
            return pixels
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels, such as 1920")


def _quality(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 1 <= (quality := whole_number(text)) <= 100:
            return quality
    raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and 100")


def _tile(text: str) -> str | int:
    if text == "auto":
        return text
    with contextlib.suppress(ValueError):
        if (side := whole_number(text)) == 0 or side >= 8:
            return side
    raise argparse.ArgumentTypeError(f"{text!r} is neither auto, nor 0, nor a number of pixels from 8")


def run(arguments: argparse.Namespace) -> int:
    """The command, after parsing; returns the exit status."""
    size = TargetSize(
        scale=arguments.scale,
        width=arguments.width,
        height=arguments.height,
        max_side=arguments.max_side,
        megapixels=arguments.megapixels,
    )
    freed_memory.keep()
    models = _Models(arguments)
    named_by_scale = arguments.output is None and not size
    planned = plan(
        arguments.inputs,
        arguments.output,
        addition=_addition(arguments, size, models.scale if named_by_scale else None),
        suffix=f".{arguments.format}" if arguments.format else None,
        overwrite=arguments.overwrite,
        skip_existing=arguments.skip_existing,
    )
    _check_saving(planned, arguments)
    failures = planned.failures
    done = 0
    if planned.jobs:
        models.check()
        pixels = _survey(planned, models, size, max_pixels=int(arguments.max_megapixels * 1e6))
        with Progress(sum(pixels.values()), unit="px") as progress:
            for number, job in enumerate(planned.jobs, start=1):
                progress.at(f"{job.source.name} ({number} of {len(planned.jobs)})")
                try:
                    if job.video:
                        _do_video(job, models, arguments, size)
                    else:
                        _do(job, models, arguments, size, progress)
                    done += 1
                except (SRGANError, OSError, MemoryError) as error:
                    if arguments.debug:
                        raise
                    said = str(error if isinstance(error, SRGANError) else machine_errors.explain(error))
                    failures.append(f"{job.source}: {said.removeprefix(f'{job.source}: ')}")
    for failure in failures:
        command_line.complain(failure)
    if choices := models.choices(planned):
        from srgan_lit.upscaling import model_choice

        command_line.complain(model_choice.said(choices))
    if planned.passed_over:
        count = len(planned.passed_over)
        command_line.complain(
            f"{count} {'files' if count > 1 else 'file'} passed over: {find.named(planned.passed_over)}"
        )
    counts = [f"{done} enlarged", f"{len(failures)} failed"]
    counts += [f"{len(planned.passed_over)} passed over"] if planned.passed_over else []
    where = arguments.output or ", ".join(sorted({str(job.target.parent) for job in planned.jobs})) or "nothing written"
    print(f"{', '.join(counts)}: {where}")  # noqa: T201
    return 1 if failures else 0


def _addition(arguments: argparse.Namespace, size: TargetSize, scale: int | None) -> str:
    """What is put after the name of each result."""
    if arguments.suffix is not None:
        if "/" in arguments.suffix or "\\" in arguments.suffix or "\0" in arguments.suffix:
            raise UsageError(f"--suffix {arguments.suffix} is no part of a file's name: it names a folder")
        return str(arguments.suffix)
    if arguments.output is not None:
        return ""
    if scale is not None:
        return f"_x{scale}"
    return f"_x{size.scale:g}" if size == TargetSize(scale=size.scale) else "_large"


def _check_saving(planned: Plan, arguments: argparse.Namespace) -> None:
    """Refuse --quality and --lossless where they have no effect, or cannot have the one that is meant."""
    kinds = [formats.WRITTEN[job.target.suffix.lower()] for job in planned.jobs if not job.video]
    if arguments.quality is not None and arguments.lossless:
        raise UsageError("--quality and --lossless contradict each other: give one of them")
    if arguments.quality is not None and kinds and not any(kind.lossy for kind in kinds):
        raise UsageError(f"--quality says nothing of {_names(kinds)}, which loses nothing: leave it out")
    lossy = [kind for kind in kinds if (kind.lossy and not kind.lossless) or kind.name == "GIF"]
    if arguments.lossless and lossy:
        raise UsageError(f"--lossless: {_names(lossy)} always loses something; take --format png, tiff or webp")


def _names(kinds: Sequence[formats.Format]) -> str:
    return " and ".join(sorted({kind.name for kind in kinds}))


def _survey(planned: Plan, models: "_Models", size: TargetSize, *, max_pixels: int) -> dict[Job, int]:
    """Input pixels of each picture, all its frames together, by its header. Announces what will be large or slow."""
    from srgan_lit.pictures import full_files

    pixels: dict[Job, int] = {}
    large: list[str] = []
    after_all = 0
    for job in planned.jobs:
        if job.video:
            continue
        try:
            height, width, frames = full_files.size_of(job.source)
            after = size.of(height, width, own_scale=models.scale)
        except (SRGANError, OSError, MemoryError):
            continue  # reported when its turn comes
        if height * width > max_pixels:
            continue
        pixels[job] = height * width * frames
        after_all += after[0] * after[1] * frames
        if after[0] * after[1] > _LARGE_MEGAPIXELS * 1e6 and not size:
            millions = after[0] * after[1] / 1e6
            large.append(
                f"{job.source}: {width}x{height} becomes {after[1]}x{after[0]}, {millions:.0f} megapixels; for less: "
                f"--scale {models.scale / 2:g} ({millions / 4:.0f} megapixels), or --megapixels 50"
            )
    if large:
        command_line.complain(large[0] + (f" (so do {len(large) - 1} more)" if len(large) > 1 else ""))
    seconds = _seconds(pixels, models, max_pixels=max_pixels) if sum(pixels.values()) > _SHORT_MEGAPIXELS * 1e6 else 0
    if seconds > _LONG_SECONDS:
        before = sum(pixels.values()) / 1e6
        command_line.complain(
            f"{len(pixels)} {'pictures' if len(pixels) > 1 else 'picture'}, {before:.0f} megapixels that become "
            f"{after_all / 1e6:.0f}: about {duration(seconds)} on this machine"
            + (f"; --model {models.faster} takes less" if models.faster else "")
        )
    return pixels


def _seconds(pixels: Mapping[Job, int], models: "_Models", *, max_pixels: int) -> float:
    """How long these input pixels will take: a trial of each model, weighted by what some of the pictures take.

    Every picture costs a little besides, which this leaves out.
    """
    from srgan_lit.pictures import full_files
    from srgan_lit.upscaling import engine

    seconds_per_pixel = functools.cache(engine.seconds_per_pixel)
    pixels_seen, seconds = 0, 0.0
    for job in list(pixels)[:: -(-len(pixels) // _TRIED)]:
        with (
            contextlib.suppress(SRGANError, OSError, MemoryError),  # reported when its turn comes
            full_files.opened(job.source, max_pixels=max_pixels) as opened,
        ):
            enlarger = models.for_picture(job.source, functools.partial(opened.frame, 0))
            seconds += seconds_per_pixel(enlarger) * pixels[job]
            pixels_seen += pixels[job]
    return seconds / pixels_seen * sum(pixels.values()) if pixels_seen else 0.0


class _Models:
    """The model that was asked for, or for each picture the one that suits it; each is made ready once, when needed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from srgan_lit.upscaling import model_choice

        self._arguments = arguments
        self._auto = arguments.model is None or model_choice.is_auto(arguments.model)
        self._enlarger = functools.cache(self._ready)
        self._choices: dict[Path, Choice] = {}

    def check(self) -> None:
        """Refuse at once what every picture would fail by: a device, or a named model, that is not there."""
        from srgan_lit.upscaling import engine

        if self._auto:
            if self._arguments.network:
                raise UsageError("--network is about a --model of your own, and there is none")
            engine.pick_device(self._arguments.device)
        else:
            self._enlarger(None)

    @property
    def scale(self) -> int:
        """How many times larger a picture becomes, whichever model it gets."""
        from srgan_lit.upscaling import model_choice

        return model_choice.scale() if self._auto else self._enlarger(None).scale

    @property
    def faster(self) -> str:
        """The name of a model in the box that takes less time than the one in use; "" if there is none."""
        from srgan_lit.model_files import box

        used = [choice.name for choice in self._choices.values()] if self._auto else [self._arguments.model]
        names = (f"{box.name_of(name)}-fast" for name in used)
        return next((name for name in names if name in box.GENERATORS), "")

    def for_picture(self, source: Path, pixels: Callable[[], "Pixels"]) -> "Enlarger":
        """The one for a file; ``pixels`` gives its first frame (H, W, C)."""
        from srgan_lit.upscaling import model_choice

        if not self._auto:
            return self._enlarger(None)
        if source not in self._choices:
            self._choices[source] = model_choice.for_pixels(pixels())
        return self._enlarger(self._choices[source].name)

    def choices(self, planned: Plan) -> dict[Path, "Choice"]:
        """Which of ``auto`` the pictures got, in the order of the plan."""
        return {job.source: self._choices[job.source] for job in planned.jobs if job.source in self._choices}

    def _ready(self, boxed: str | None) -> "Enlarger":
        from srgan_lit.common import cpu_instructions
        from srgan_lit.config import own_parts
        from srgan_lit.model_files import box
        from srgan_lit.upscaling import engine, named_models

        arguments, device = self._arguments, engine.pick_device(self._arguments.device)
        if device.type == "cpu" and cpu_instructions.emulates(engine.PRECISIONS[arguments.precision]):
            command_line.complain(
                f"warning: this processor has no instructions for {arguments.precision}; float32 is much faster"
            )
        return engine.Enlarger(
            named_models.load(
                box.path_of(boxed) if boxed else arguments.model,
                fidelity=arguments.fidelity,
                network=own_parts.named_class(arguments.network),
            ),
            device=device,
            precision=arguments.precision,
            match_input=arguments.match_input,
            self_ensemble=arguments.self_ensemble,
        )


def _do(job: Job, models: _Models, arguments: argparse.Namespace, size: TargetSize, progress: Progress) -> None:
    from srgan_lit.pictures import full_files
    from srgan_lit.upscaling import picture_frames

    saving = full_files.Saving(quality=arguments.quality, lossless=arguments.lossless)
    with full_files.opened(job.source, max_pixels=int(arguments.max_megapixels * 1e6)) as opened:
        frames = picture_frames.frames(
            opened,
            models.for_picture(job.source, lambda: opened.frame(0)),
            job.target.suffix.lower(),
            size=size,
            lossless=arguments.lossless,
            tile=arguments.tile,
            on_frame=lambda _, pixels: None,
            on_progress=progress.add,
        )
        job.target.parent.mkdir(parents=True, exist_ok=True)
        full_files.write(job.target, frames, opened.info, saving=saving)
        if lost := full_files.lost(opened.info, job.target.suffix.lower()):
            command_line.complain(f"{job.target}: without {', '.join(lost)}")


def _do_video(job: Job, models: _Models, arguments: argparse.Namespace, size: TargetSize) -> None:
    import numpy as np
    from numpy.typing import NDArray

    from srgan_lit.upscaling import engine

    enlarger: Enlarger | None = None

    def enlarged(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        nonlocal enlarger
        enlarger = enlarger or models.for_picture(job.source, lambda: pixels)
        height, width = size.of(*pixels.shape[:2], own_scale=enlarger.scale)
        even = max(height // 2 * 2, 2), max(width // 2 * 2, 2)  # chroma is kept for pixels two by two
        return np.concatenate(list(engine.bands(pixels, enlarger, size=even, tile=arguments.tile)))

    job.target.parent.mkdir(parents=True, exist_ok=True)
    with Progress(0, unit="frame") as progress:
        progress.at(job.source.name)
        lacking = video_files.enlarge(
            job.source,
            job.target,
            enlarged,
            max_pixels=int(arguments.max_megapixels * 1e6),
            on_start=progress.expect,
            on_frame=lambda: progress.add(1),
        )
    if lacking:
        command_line.complain(f"{job.target}: without what a video result cannot take over: {', '.join(lacking)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``srgan-upscale``."""
    return command_line.run(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
