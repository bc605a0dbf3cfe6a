"""The page's queue: one job at a time in a thread, few waiting, results kept for a while. No HTTP, no torch.

Every job has a folder of its own, named by the server, in a private temporary folder.
"""

import contextlib
import secrets
import shutil
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError

KEPT = 24  # finished jobs
KEPT_BYTES = 4 * 2**30
KEPT_SECONDS = 3600
GONE_SECONDS = 150  # browsers let a hidden page ask once a minute


class Full(SRGANError):
    """The queue takes no more for now."""


class Cancelled(Exception):
    """Nobody waits for this job any more."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was chosen for a picture; hashable, so that the same choice uses the same network."""

    model: str
    fidelity: float | None = None
    match_input: bool = False
    self_ensemble: bool = False


@dataclass(kw_only=True, eq=False)
class Job:
    """A picture to enlarge. ``stem`` is for people to read; files are named by the server."""

    folder: Path
    stem: str
    suffix: str
    options: Options
    state: str = "waiting"  # then working; then done or failed
    error: str = ""
    progress: float = 0.0  # 0 to 1
    facts: dict[str, int] = field(
        default_factory=dict
    )  # width, height, frames of the input; scale; bytes of the result
    seconds: float = 0.0
    cancelled: bool = False
    seen: float = field(default_factory=time.monotonic)  # when its page last asked for it
    ended: float = 0.0

    @property
    def id(self) -> str:
        """Its name in addresses; cannot be guessed."""
        return self.folder.name

    @property
    def source(self) -> Path:
        """The picture as it was received."""
        return self.folder / "input"

    @property
    def result(self) -> Path:
        """The enlarged picture."""
        return self.folder / f"result{self.suffix}"

    def go_on(self) -> None:
        """Raise Cancelled if nobody waits for this job."""
        if self.cancelled or time.monotonic() - self.seen > GONE_SECONDS:
            raise Cancelled


class Jobs:
    """All jobs; ``work`` is called with one at a time, in a thread of its own.

    Args:
        folder: where jobs keep their files; private.
        work: makes ``job.result`` from ``job.source``; raises SRGANError with what to tell, and calls ``job.go_on``.
        most: jobs that may be received, wait or be worked on at the same time.
    """

    def __init__(self, folder: Path, work: Callable[[Job], None], *, most: int) -> None:
        self._folder, self._work, self._most = folder, work, most
        self._all: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._working: Job | None = None
        self._receiving = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def receiving(self, stem: str, suffix: str, options: Options) -> Iterator[Job]:
        """Yield a new job whose ``source`` the block writes; it is then queued, or forgotten if the block raises.

        Raises:
            Full: before the block, if there is no room.
        """
        with self._changed:
            if self._receiving + len(self._waiting) + (self._working is not None) >= self._most:
                raise Full(f"{self._most} pictures are being worked on or waiting, and no more fit: try again soon")
            self._receiving += 1
        job = Job(folder=self._folder / secrets.token_urlsafe(16), stem=stem, suffix=suffix, options=options)
        try:
            job.folder.mkdir()
            yield job
            with self._changed:
                job.seen = time.monotonic()
                self._all[job.id] = job
                self._waiting.append(job)
                self._changed.notify()
        except BaseException:
            _remove(job)
            raise
        finally:
            with self._changed:
                self._receiving -= 1

    def find(self, id_: str) -> Job | None:
        """The job of that name, if it is still there; and note that somebody waits for it."""
        with self._changed:
            job = self._all.get(id_)
            if job:
                job.seen = time.monotonic()
            return job

    def ahead(self, job: Job) -> int:
        """How many jobs come before a waiting one."""
        with self._changed:
            return self._waiting.index(job) + (self._working is not None) if job in self._waiting else 0

    def remove(self, job: Job) -> None:
        """Forget a job and its files; if it is being worked on, that ends after the tile at hand."""
        with self._changed:
            self._all.pop(job.id, None)
            job.cancelled = True
            if job is self._working:
                return  # its files go when the work has ended
            if job in self._waiting:
                self._waiting.remove(job)
        _remove(job)

    def stop(self) -> bool:
        """End the thread; return whether it has ended within seconds, or is still at a tile."""
        with self._changed:
            self._stopping = True
            if self._working:
                self._working.cancelled = True
            self._changed.notify()
        self._thread.join(3)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait(60)
                    self._tidy()
                if self._stopping:
                    return
                job = self._working = self._waiting.popleft()
                job.state = "working"
            started = time.monotonic()
            try:
                job.go_on()
                self._work(job)
                state = "done"
            except Cancelled:
                job.cancelled = True
                state = "failed"
            except (SRGANError, OSError, MemoryError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else error
                job.error = str(reason) or type(error).__name__
                state = "failed"
            except Exception as error:  # a fault of ours: the page and the log say so, and the next job is done
                job.error = f"something went wrong here ({type(error).__name__}: {error})"
                state = "failed"
                command_line.complain(f"{job.stem}: {job.error}")
                traceback.print_exc(file=sys.stderr)
            with self._changed:
                self._working = None
                job.ended = time.monotonic()
                job.seconds = job.ended - started
                job.state = state
                job.source.unlink(missing_ok=True)
                if job.cancelled:
                    self._all.pop(job.id, None)
                    _remove(job)
                self._tidy()

    def _tidy(self) -> None:
        ended = sorted((job for job in self._all.values() if job.ended), key=lambda job: job.ended)
        sizes = {job.id: sum(file.stat().st_size for file in job.folder.iterdir()) for job in ended}
        for number, job in enumerate(ended, start=1):
            left = len(ended) - number
            room = left < KEPT and (sum(sizes.values()) <= KEPT_BYTES or not left)
            if room and time.monotonic() - job.ended < KEPT_SECONDS:
                return
            sizes.pop(job.id)
            self._all.pop(job.id)
            _remove(job)


def _remove(job: Job) -> None:
    shutil.rmtree(job.folder, ignore_errors=True)
