"""How time and memory grow with what is asked for, on a CPU: each size in a process of its own."""

import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from srgan_lit import upscaling, workloads
from srgan_lit.generator import Generator

_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What one size took. ``peak_bytes`` is the most resident memory of its process, torch itself in it."""

    name: str
    size: int  # crops in a batch, or pixels of the picture
    label: str
    seconds: float
    peak_bytes: int


def measured(*, blocks: int, batches: Sequence[int], sides: Sequence[int]) -> Iterator[Growth]:
    """Training steps with ``batches`` crops, and pictures of ``sides`` pixels enlarged."""
    for step in (_pretrain, _adversarial):
        for batch in batches:
            seconds, peak = _alone(step, blocks, batch)
            name = f"{step.__name__.strip('_')} step"
            yield Growth(name=name, size=batch, label=f"{batch} crops", seconds=seconds, peak_bytes=peak)
    for side in sides:
        seconds, peak = _alone(_upscale, blocks, side)
        label = f"{side}x{side} pixels"
        yield Growth(name="upscale", size=side * side, label=label, seconds=seconds, peak_bytes=peak)


def _alone(function: Callable[[int, int], float], blocks: int, size: int) -> tuple[float, int]:
    """What ``function`` returns, and its peak memory in bytes, in a process that does nothing else."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_watched, function, blocks, size).result()


def _watched(function: Callable[[int, int], float], blocks: int, size: int) -> tuple[float, int]:
    seconds = function(blocks, size)
    return seconds, _peak_bytes()


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would give that of the process which started this one, if it is more
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(fields["VmHWM"].split()[0])
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _median(function: Callable[[], object]) -> float:
    run = workloads.clocked(function, torch.device("cpu"))
    run()
    return statistics.median(run() for _ in range(_ROUNDS))


def _step(make: Callable[[workloads.Settings], tuple[workloads.Steps, object]], blocks: int, batch: int) -> float:
    settings = workloads.Settings(device=torch.device("cpu"), blocks=blocks, batch=batch, side=0, tile=0)
    steps = make(settings)[0]
    lr, hr = (image.contiguous(memory_format=torch.channels_last) for image in workloads.random_batch(settings))
    return _median(lambda: steps.training_step({"lr": lr, "hr": hr}, 0))


def _pretrain(blocks: int, batch: int) -> float:
    return _step(workloads.pretraining, blocks, batch)


def _adversarial(blocks: int, batch: int) -> float:
    return _step(workloads.adversarial_training, blocks, batch)


def _upscale(blocks: int, side: int) -> float:
    enlarger = upscaling.Enlarger(Generator(blocks=blocks).eval())
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)

    def enlarge() -> None:
        for _ in upscaling.bands(pixels, enlarger):
            pass

    return _median(enlarge)
