"""The page's queue: one job at a time in a thread, few waiting, results kept for a while. No HTTP, no torch.

Every job has a folder of its own, named by the server, in a private folder. A job that fails does not end the queue.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
import secrets
import shutil
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError
from srgan_lit.upscaling.target_sizes import TargetSize

KEPT = 1000  # finished jobs
KEPT_SECONDS = 3600  # since its page last asked for it
GONE_SECONDS = 150  # browsers let a hidden page ask once a minute


class Full(SRGANError):
    """The queue takes no more for now."""


class FullForClient(Full):
    """The queue takes no more of this client for now."""


class Cancelled(Exception):
    """Nobody waits for this job any more."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was chosen for a picture; hashable, so that the same choice uses the same network."""

    model: str
    fidelity: float | None = None
    match_input: bool = False
    self_ensemble: bool = False
    size: TargetSize = TargetSize()  # noqa: RUF009  # frozen


@dataclass(kw_only=True, eq=False)
class Job:
    """A picture to enlarge. ``stem`` is for people to read; files are named by the server."""

    folder: Path
    stem: str
    suffix: str
    options: Options
    client: str = ""  # the address that it came from
    batch: str = ""  # of jobs that are fetched together
    pixels: int = 0  # of the input, all frames together; 0 while they are not known
    state: str = "waiting"  # then working; then done or failed
    error: str = ""
    progress: float = 0.0  # 0 to 1
    facts: dict[str, int] = field(default_factory=dict)  # of the input width, height, frames; scale; result's bytes
    choice: str = ""  # of the automatic model: which, and why
    received: float = 0.0
    started: float = 0.0
    seconds: float = 0.0
    cancelled: bool = False
    seen: float = field(default_factory=time.monotonic)  # when its page last asked for it
    ended: float = 0.0
    bytes: int = 0  # on the disk; while it is received, what is expected of it
    make_room: Callable[[], None] = lambda: None  # set by the queue

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
        """To be called every now and then while it is worked on.

        Raises:
            Cancelled: nobody waits for this job.
            SRGANError: what it has written does not fit into the limit on disk.
        """
        if self.cancelled or time.monotonic() - self.seen > GONE_SECONDS:
            raise Cancelled
        self.make_room()


@dataclass
class _Pace:
    """Seconds and input pixels, halved with each job. Large pictures weigh more: small ones are mostly preparation."""

    seconds: float = 0.0
    pixels: float = 0.0

    def add(self, job: Job) -> None:
        self.seconds = self.seconds / 2 + job.seconds
        self.pixels = self.pixels / 2 + job.pixels


class Jobs:
    """All jobs; ``work`` is called with one at a time, in a thread of its own.

    Args:
        folder: gives the folder in which jobs keep their files; private. It is asked for each job.
        work: makes ``job.result`` from ``job.source``; raises SRGANError with what to tell, and calls ``job.go_on``.
        most: jobs that may be received, wait or be worked on at the same time.
        most_per_client: of these, from one client.
        most_bytes: of all files, of results too; the oldest results go first.

    Attributes:
        totals: since the beginning: jobs ``done``, ``failed``, ``cancelled`` and ``refused`` for want of room; seconds
            ``waiting`` and ``working``, and ``pixels`` of the inputs, of those that were worked on.
    """

    def __init__(
        self,
        folder: Callable[[], Path],
        work: Callable[[Job], None],
        *,
        most: int,
        most_per_client: int,
        most_bytes: int,
    ) -> None:
        self._folder, self._work = folder, work
        self._most, self._most_per_client, self._most_bytes = most, most_per_client, most_bytes
        self.totals: Counter[str] = Counter()
        self._all: dict[str, Job] = {}
        self._receiving: list[Job] = []
        self._waiting: deque[Job] = deque()
        self._working: Job | None = None
        self._stopping = False
        self._paces: dict[Options, _Pace] = {}  # of each kind
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def receiving(
        self, stem: str, suffix: str, options: Options, *, client: str = "", batch: str = "", expected: int = 0
    ) -> Iterator[Job]:
        """Yield a new job whose ``source`` the block writes; it is then queued, or forgotten if the block raises.

        ``client`` is who sends it, ``batch`` may name jobs that are fetched together, ``expected`` is how many bytes
        come at most.

        Raises:
            Full: before the block, if there is no room.
            SRGANError: before the block, if there never will be.
            OSError: before the block, if there is no folder to write to.
        """
        job = Job(
            folder=self._folder() / secrets.token_urlsafe(16),
            stem=stem,
            suffix=suffix,
            options=options,
            client=client,
            batch=batch,
            bytes=expected,
        )
        job.make_room = functools.partial(self._make_room, job)
        with self._changed:
            try:
                self._refuse_if_full(job)
            except SRGANError:
                self.totals["refused"] += 1
                raise
            self._receiving.append(job)
        try:
            job.folder.mkdir()
            yield job
            with self._changed:
                job.seen = job.received = time.monotonic()
                job.bytes = _bytes(job.folder)
                self._all[job.id] = job
                self._waiting.append(job)
                self._changed.notify()
        except BaseException:
            _remove(job)
            raise
        finally:
            with self._changed:
                self._receiving.remove(job)

    def _refuse_if_full(self, job: Job) -> None:
        active = [*self._receiving, *self._waiting, *filter(None, [self._working])]
        if len(active) >= self._most:
            raise Full(f"{self._most} pictures are being worked on or waiting, and no more fit: try again soon")
        if sum(other.client == job.client for other in active) >= self._most_per_client:
            raise FullForClient(
                f"{self._most_per_client} pictures of this address are being worked on or waiting, and no more "
                "are taken of one: try again soon"
            )
        if job.bytes > self._most_bytes:
            raise SRGANError(f"the file does not fit into the {self._most_bytes / 1e9:g} GB of disk for pictures here")
        if not self._fits(job):
            raise Full(f"the {self._most_bytes / 1e9:g} GB of disk for pictures are in use: try again soon")

    def find(self, id_: str) -> Job | None:
        """The job with this id, or None where it is not kept. It counts as asked for now."""
        with self._changed:
            job = self._all.get(id_)
            if job:
                job.seen = time.monotonic()
            return job

    def ahead(self, job: Job) -> int:
        """How many jobs come before a waiting one."""
        with self._changed:
            return self._waiting.index(job) + (self._working is not None) if job in self._waiting else 0

    def done_of(self, batch: str) -> list[Job]:
        """The jobs of ``batch`` whose results can be fetched, in the order they ended. They count as asked for now."""
        with self._changed:
            done = [job for job in self._ended() if job.batch == batch and job.state == "done"]
            for job in done:
                job.seen = time.monotonic()
            return done

    def seconds_left(self, job: Job) -> float | None:
        """Seconds until ``job`` is done, with those before it; None while there is nothing to estimate by."""
        with self._changed:
            before = list(itertools.takewhile(lambda other: other is not job, self._waiting))
            jobs = [job] if job is self._working else [*filter(None, [self._working]), *before, job]
            seconds = [self._own_seconds_left(each) for each in jobs]
        return sum(seconds) if None not in seconds else None  # type: ignore[arg-type]

    def _own_seconds_left(self, job: Job) -> float | None:
        passed = time.monotonic() - job.started if job is self._working else 0.0
        if job.progress > 0:
            return passed * (1 / job.progress - 1)
        pace = self._paces.get(_kind(job.options))
        return None if pace is None else max(pace.seconds / pace.pixels * job.pixels - passed, 0)

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

    def kept_bytes(self) -> int:
        """Of all files that are kept, or expected."""
        with self._changed:
            return sum(job.bytes for job in {*self._all.values(), *self._receiving})

    def health(self) -> dict[str, str | int]:
        """The queue's state: ``status`` is ``ok`` or what is wrong; and the number of jobs in each state."""
        with self._changed:
            counts = {
                "receiving": len(self._receiving),
                "waiting": len(self._waiting),
                "working": int(self._working is not None),
            }
            done = sum(1 for job in self._all.values() if job.state == "done")
        status = "ok"
        if not self._thread.is_alive():
            status = "pictures are not worked on any more: start the page again"
        else:
            try:
                if not os.access(self._folder(), os.W_OK):
                    status = "pictures cannot be kept: the folder for them cannot be written to"
            except OSError as error:
                status = f"pictures cannot be kept: {error.strerror}"
        return {"status": status, **counts, "done": done}

    def stop(self) -> None:
        """End the thread, and what it works on."""
        with self._changed:
            self._stopping = True
            if self._working:
                self._working.cancelled = True
            self._changed.notify()
        self._thread.join()

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
                job.started = time.monotonic()
            try:
                job.go_on()
                self._work(job)
                job.source.unlink(missing_ok=True)
                job.go_on()
                state = "done"
            except Cancelled:
                job.cancelled = True
                state = "failed"
            except FileNotFoundError:
                job.error = "its file is not on this machine any more: send it again"
                state = "failed"
            except (SRGANError, OSError, MemoryError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else error
                job.error = str(reason) or type(error).__name__
                state = "failed"
            except BaseException as error:  # a bug: the page and the log show it, and the next job is done
                job.error = f"something went wrong here ({type(error).__name__}: {error})"
                state = "failed"
                command_line.complain(f"{job.stem}: {job.error}")
                traceback.print_exc(file=sys.stderr)
            with self._changed:
                self._working = None
                job.ended = time.monotonic()
                job.seconds = job.ended - job.started
                end = "cancelled" if job.cancelled else state
                waited = job.started - job.received
                self.totals.update({end: 1, "pixels": job.pixels, "working": job.seconds, "waiting": waited})
                if state == "done" and job.pixels:
                    self._paces.setdefault(_kind(job.options), _Pace()).add(job)
                job.state = state
                if state == "failed" or job.cancelled:
                    _remove(job)
                job.bytes = _bytes(job.folder)
                if job.cancelled:
                    self._all.pop(job.id, None)
                self._tidy()

    def _tidy(self) -> None:
        """Forget the finished jobs that are too many, or for which nobody has asked for long."""
        ended = self._ended()
        for number, job in enumerate(ended):
            if number < len(ended) - KEPT or time.monotonic() - max(job.ended, job.seen) >= KEPT_SECONDS:
                self._forget(job)

    def _make_room(self, job: Job) -> None:
        with self._changed:
            job.bytes = _bytes(job.folder)
            if not self._fits(job):
                raise SRGANError(
                    f"its result does not fit into the {self._most_bytes / 1e9:g} GB of disk that pictures may take "
                    "here: choose a smaller size or format"
                )

    def _fits(self, job: Job) -> bool:
        """Whether ``job`` fits beside all others into the limit on disk, once the oldest results are removed."""
        others = {*self._all.values(), *self._receiving} - {job}
        used = job.bytes + sum(other.bytes for other in others)
        for other in self._ended():
            if used <= self._most_bytes:
                break
            if other is not job:
                used -= other.bytes
                self._forget(other)
        return used <= self._most_bytes

    def _ended(self) -> list[Job]:
        return sorted((job for job in self._all.values() if job.ended), key=lambda job: job.ended)

    def _forget(self, job: Job) -> None:
        self._all.pop(job.id, None)
        _remove(job)


def _kind(options: Options) -> Options:
    """What a picture's time depends on: reduction costs little beside the network."""
    return dataclasses.replace(options, size=TargetSize())


def _bytes(folder: Path) -> int:
    """Bytes of the files in ``folder``, as far as they are still there."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for file in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
                total += file.stat().st_size
    return total


def _remove(job: Job) -> None:
    shutil.rmtree(job.folder, ignore_errors=True)
