"""Enlarge picture files: ``python -m srgan_lit.upscale IN [IN …] -o OUT``. In a program: ``srgan_lit.enlarge``."""

import argparse
import glob
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_lit.common import command_line, machine_errors
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.pictures import find, formats, video_files

if TYPE_CHECKING:
    from srgan_lit.upscaling.engine import Enlarger


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture or video: from where to where."""

    source: Path
    target: Path

    @property
    def video(self) -> bool:
        """Whether it is one."""
        return self.source.suffix.lower() in video_files.RESULTS


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "upscale",
        "Enlarge pictures with a trained generator. Alpha, 16 bits, grey, animation, colour profile and EXIF stay. Of "
        "videos, so do times, sound and subtitles.",
        epilog="A name that begins with a dash goes after --, as in: srgan-upscale -o large -- -portrait.png",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="picture, video, glob pattern, or folder (searched wholly, for pictures alone)",
    )
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="OUT", help="folder; or a file, for one picture or video"
    )
    parser.add_argument(
        "--model",
        help="bundled name, .safetensors, run directory, .ckpt, or bicubic (default: srgan, or srresnet without it)",
    )
    parser.add_argument(
        "--fidelity",
        type=_fraction,
        metavar="0..1",
        help="blend the weights with those of the SRResNet that the model began as: 0 is the model itself, 1 the "
        "SRResNet, which invents nothing and is softer",
    )
    parser.add_argument("--match-input", action="store_true", help="correct the result so that it shrinks to the input")
    parser.add_argument("--self-ensemble", action="store_true", help="mean over 8 flips and rotations; 8 times slower")
    parser.add_argument(
        "--format",
        choices=sorted(suffix[1:] for suffix in formats.BY_SUFFIX),
        help="of pictures (default: each input's)",
    )
    exists = parser.add_mutually_exclusive_group()
    exists.add_argument("--overwrite", action="store_true", help="replace results that exist (default: refuse)")
    exists.add_argument("--skip-existing", action="store_true", help="leave results that exist, do the others")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument(
        "--tile", type=_tile, default="auto", metavar="auto|N|0", help="tile side in input pixels; 0: whole pictures"
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=200,
        metavar="N",
        help="refuse larger inputs as decompression bombs (default: 200)",
    )
    return parser


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _tile(text: str) -> str | int:
    if text == "auto":
        return text
    if not text.isdecimal() or 0 < int(text) < 8:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto, nor 0, nor a number of pixels from 8")
    return int(text)


def plan(
    inputs: Sequence[str],
    output: Path,
    *,
    suffix: str | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> tuple[list[Job], list[str]]:
    """What to do, in order, and what cannot be done (one line each). Nothing is read or written yet.

    Raises:
        UsageError: two results would have the same name, a result would replace its own input, or one exists
            and neither ``overwrite`` nor ``skip_existing`` was given.
    """
    jobs: list[Job] = []
    failures: list[str] = []
    results = {*formats.BY_SUFFIX, *video_files.RESULTS.values()}
    to_file = output.suffix.lower() in results and not output.is_dir()
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = [(file, file.relative_to(path)) for file in find.pictures(path, besides=output)]
            if not found:
                failures.append(f"{given}: no pictures in this folder")
        elif path.exists():
            found = [(path, Path(path.name))]
        else:
            matches = sorted(Path(match) for match in glob.glob(given, recursive=True) if Path(match).is_file())  # noqa: PTH207
            found = [(match, Path(match.name)) for match in matches]
            if not found:
                failures.append(f"{given}: no such file")
        for source, name in found:
            wanted = name.with_suffix(video_files.RESULTS.get(name.suffix.lower()) or suffix or name.suffix)
            if wanted.suffix.lower() not in results:
                failures.append(f"{source}: not the name of a picture; with --format png it is tried all the same")
                continue
            jobs.append(Job(source=source, target=output if to_file else output / wanted))
    if to_file and len(jobs) > 1:
        raise UsageError(f"{len(jobs)} pictures cannot all become {output}: give a folder")
    if to_file and suffix and output.suffix.lower() != suffix:
        raise UsageError(f"--format {suffix[1:]} contradicts the name {output}")
    for job in jobs:
        if job.video == (formats.is_picture(job.target)):
            raise UsageError(f"{job.source} cannot become {job.target}: a video becomes a video, a picture a picture")
    _refuse_clashes(jobs)
    existing = [job for job in jobs if job.target.exists()]
    if existing and not overwrite and not skip_existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UsageError(f"{existing[0].target} exists{more}: add --skip-existing or --overwrite")
    if skip_existing:
        jobs = [job for job in jobs if job not in existing]
    return jobs, failures


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    by_target: dict[str, Job] = {}
    for job in jobs:
        if job.target.exists() and job.target.samefile(job.source):
            raise UsageError(f"{job.target} is the input itself: give another -o")
        # Case-insensitive: some file systems are.
        other = by_target.setdefault(os.path.normcase(job.target).lower(), job)
        if other is not job:
            raise UsageError(f"{other.source} and {job.source} would both become {job.target}: do them apart")


def _videos_below(folder: Path, *, besides: Path) -> int:
    return sum(path.suffix.lower() in video_files.RESULTS for path in find.files(folder, besides=besides))


def run(arguments: argparse.Namespace) -> int:
    """The command, after parsing; returns the exit status."""
    suffix = f".{arguments.format}" if arguments.format else None
    jobs, failures = plan(
        arguments.inputs,
        arguments.output,
        suffix=suffix,
        overwrite=arguments.overwrite,
        skip_existing=arguments.skip_existing,
    )
    done = 0
    if jobs:
        from tqdm import tqdm

        enlarger = _enlarger(arguments)
        with tqdm(jobs, unit="picture", disable=None, dynamic_ncols=True) as progress:
            for job in progress:
                progress.set_postfix_str(job.source.name, refresh=False)
                try:
                    (_do_video if job.video else _do)(job, enlarger, arguments)
                    done += 1
                except (SRGANError, OSError, MemoryError) as error:
                    if arguments.debug:
                        raise
                    failures.append(
                        f"{job.source}: {error if isinstance(error, SRGANError) else machine_errors.explain(error)}"
                    )
    for failure in failures:
        command_line.complain(failure)
    if left := sum(_videos_below(Path(given), besides=arguments.output) for given in arguments.inputs):
        command_line.complain(f"{left} videos in folders were left alone, which take long: name those that are meant")
    print(f"{done} enlarged, {len(failures)} failed: {arguments.output}")  # noqa: T201
    return 1 if failures else 0


def _enlarger(arguments: argparse.Namespace) -> "Enlarger":
    from srgan_lit.common import cpu_instructions
    from srgan_lit.model_files import generator_file
    from srgan_lit.upscaling import engine, picture_frames

    device = engine.pick_device(arguments.device)
    if device.type == "cpu" and cpu_instructions.emulates(engine.PRECISIONS[arguments.precision]):
        command_line.complain(
            f"warning: this processor has no instructions for {arguments.precision}; float32 is much faster"
        )
    model = arguments.model or generator_file.bundled(picture_frames.default_model())
    generator = picture_frames.load(model, fidelity=arguments.fidelity)
    return engine.Enlarger(
        generator,
        device=device,
        precision=arguments.precision,
        match_input=arguments.match_input,
        self_ensemble=arguments.self_ensemble,
    )


def _do(job: Job, enlarger: "Enlarger", arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from srgan_lit.pictures import full_files
    from srgan_lit.upscaling import picture_frames

    with (
        full_files.opened(job.source, max_pixels=int(arguments.max_megapixels * 1e6)) as opened,
        tqdm(unit="px", unit_scale=True, leave=False, disable=None, dynamic_ncols=True) as progress,
    ):
        frames = picture_frames.frames(
            opened,
            enlarger,
            job.target.suffix.lower(),
            tile=arguments.tile,
            on_frame=lambda _, pixels: progress.reset(pixels.shape[0] * pixels.shape[1]),
            on_progress=progress.update,
        )
        job.target.parent.mkdir(parents=True, exist_ok=True)
        full_files.write(job.target, frames, opened.info)


def _do_video(job: Job, enlarger: "Enlarger", arguments: argparse.Namespace) -> None:
    import numpy as np
    from tqdm import tqdm

    from srgan_lit.upscaling import engine

    job.target.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(unit="frame", leave=False, disable=None, dynamic_ncols=True) as progress:
        lacking = video_files.enlarge(
            job.source,
            job.target,
            lambda pixels: np.concatenate(list(engine.bands(pixels, enlarger, tile=arguments.tile))),
            max_pixels=int(arguments.max_megapixels * 1e6),
            on_start=progress.reset,
            on_frame=progress.update,
        )
    if lacking:
        command_line.complain(f"{job.target}: without what a video result cannot take over: {', '.join(lacking)}")


def _terminate(*_: object) -> None:
    raise KeyboardInterrupt  # so that a polite kill, too, leaves no temporary file behind


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``srgan-upscale``."""
    signal.signal(signal.SIGTERM, _terminate)
    return command_line.run(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
