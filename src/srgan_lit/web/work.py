"""The page's way to the processes that read and enlarge its pictures. No torch."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan_lit.web import limits
from srgan_lit.web.children import Children
from srgan_lit.web.jobs import Job

_POLL_SECONDS = 0.01
_WAIT_SECONDS = 0.1  # after which a job that is cancelled ends


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A model on the page: its name for people, and whether it can be blended with its SRResNet."""

    label: str
    blends: bool


class Work:
    """Reads pictures, each in a process of its own, and enlarges those of jobs, in one that keeps its models.

    Attributes:
        models: what is on offer by name, the first one preselected.
        max_pixels: that a picture may have.

    Raises:
        SRGANError: a model cannot be loaded.
    """

    def __init__(self, models: Sequence[str], *, device: str, max_pixels: int) -> None:
        self.max_pixels = max_pixels
        self._given, self._device = models, device
        self._children = Children("srgan_lit.web.enlarging")
        self._enlarging = self._children.start()
        unheld = dataclasses.replace(limits.of_opening(0, 0), memory=None)
        task = "srgan_lit.web.enlarging:offers"
        *_, said = self._enlarging.do(task, unheld, wait=_WAIT_SECONDS, models=list(models), device=device)
        assert said is not None
        self._on_gpu = said["result"]["device"] != "cpu"
        self.models = {name: Offer(label=label, blends=blends) for name, label, blends in said["result"]["models"]}

    async def check(self, path: Path) -> int:
        """How many pixels the picture at ``path`` has, with all frames, as its header says.

        Raises:
            SRGANError: it is no picture, too large a one, or one that takes too long or too much memory to read.
        """
        child = self._children.start()
        task = "srgan_lit.web.reading:pixels"
        held = limits.of_reading(path.stat().st_size, self.max_pixels)
        try:
            for said in child.do(task, held, wait=0, path=str(path), max_pixels=self.max_pixels):
                if said is None:
                    await asyncio.sleep(_POLL_SECONDS)
                elif "result" in said:
                    return int(said["result"])
        finally:
            child.kill()
        raise AssertionError("a task ends with a result or an error")

    def __call__(self, job: Job) -> None:
        """Make ``job.result``, and beside it ``before.png`` and ``after.png``, the first frame for the slider.

        Raises:
            SRGANError: the picture is damaged, too large, or does not fit into the format.
            Cancelled: nobody waits for it any more.
        """
        if not self._enlarging.lives():
            self._enlarging = self._children.start()
        held = limits.of_opening(job.source.stat().st_size, self.max_pixels)
        options = dataclasses.asdict(job.options)
        told = self._enlarging.do(
            "srgan_lit.web.enlarging:enlarge",
            dataclasses.replace(held, memory=None) if self._on_gpu else held,
            wait=_WAIT_SECONDS,
            folder=str(job.folder),
            source=job.source.name,
            result=job.result.name,
            max_pixels=self.max_pixels,
            given=job.options.model in self._given,
            device=self._device,
            **options,
        )
        with contextlib.closing(told):  # type: ignore[type-var]
            for said in told:
                for name, value in (said or {}).items():
                    if name == "seconds":
                        self._enlarging.allow(value)
                    elif name in ("progress", "facts", "choice"):
                        setattr(job, name, value)
                job.go_on()
