"""What a picture may take, by its size: time, address space and processor time. The system holds a process to it.

To read a file of B bytes, on a page that takes P pixels: 30 s and 1 s for each 10^6 of B; 0.5 GB, 24 bytes for each of
P and 4 for each of B. To enlarge it: 120 s and 1 s for each 10^6 of B, and then for each frame 0.1 s, 20 times what its
pixels take in a trial of its model on this machine, and 1 s for each 10^5 pixels of the result; 2 GB and 0.15 GB for
each processor more than to read it, and 64 bytes for each pixel of the input and 48 for each of the result. The
processor time is as long on each processor that is used.
"""

import contextlib
import math
import sys
import time
from dataclasses import dataclass

import psutil

from srgan_lit.common.worker_processes import processors

try:
    import resource
except ImportError:  # Windows: there the page alone limits the time
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds on the clock, seconds of processors, and bytes of address space beyond what the process began with."""

    seconds: float
    processor_seconds: float
    memory: int | None  # as much as it wants: drivers of GPUs reserve space that they never use


def of_reading(file_bytes: int, max_pixels: int) -> Limits:
    """To see whether a file is a picture that the page takes."""
    seconds = 30 + file_bytes / 1e6
    return Limits(seconds=seconds, processor_seconds=seconds, memory=int(0.5e9) + 24 * max_pixels + 4 * file_bytes)


def of_opening(file_bytes: int, max_pixels: int) -> Limits:
    """To open a file and load its model, before the first frame is enlarged."""
    seconds = 120 + file_bytes / 1e6
    more = int(2e9) + int(0.15e9) * processors()
    memory = (of_reading(file_bytes, max_pixels).memory or 0) + more
    return Limits(seconds=seconds, processor_seconds=seconds * processors(), memory=memory)


def of_frame(pixels: int, result_pixels: int, seconds_per_pixel: float, *, frames: int) -> Limits:
    """To enlarge a frame and write it beside ``frames`` like it: so much more than there was to open the file."""
    seconds = 0.1 + 20 * seconds_per_pixel * pixels + result_pixels / 1e5
    memory = (64 * pixels + 48 * result_pixels) * frames
    return Limits(seconds=seconds, processor_seconds=seconds * processors(), memory=memory)


class Held:
    """Holds this process to limits. To be made at its start."""

    def __init__(self) -> None:
        self._own = psutil.Process().memory_info().vms
        self._memory: int | None = None
        self._seconds = 0.0

    def to(self, limits: Limits) -> None:
        """Begin anew with ``limits``."""
        self._seconds = time.process_time() + limits.processor_seconds
        self._memory = None if limits.memory is None else self._own + limits.memory
        self._set(self._memory)

    def longer(self, limits: Limits) -> None:
        """Add time to what was allowed, and memory to what there was at first."""
        self._seconds += limits.processor_seconds
        self._set(None if self._memory is None else self._memory + (limits.memory or 0))

    def _set(self, memory: int | None) -> None:
        if resource is None:
            return
        _soften(resource.RLIMIT_CPU, math.ceil(self._seconds) + 1)
        if sys.platform == "linux":  # macOS takes the number and does not hold a process to it
            _soften(resource.RLIMIT_AS, resource.RLIM_INFINITY if memory is None else memory)


def _soften(which: int, amount: int) -> None:
    with contextlib.suppress(ValueError, OSError):  # above the administrator's own limit, which then holds
        resource.setrlimit(which, (amount, resource.getrlimit(which)[1]))
