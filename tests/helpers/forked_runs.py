"""The training command in processes that need not import anything: dozens of kills and resumes in a test's time.

A server process has imported Lightning; each command is a fork of it, a process of its own that can be killed.
"""

import contextlib
import csv
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

# For the server, and so for every fork.
import lightning
import torch

from srgan_lit import train
from srgan_lit.training import run as training_run

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["helpers.forked_runs"])

__all__ = ["Command", "curve", "lightning", "torch"]


def _main(arguments, said, report):
    with Path(said).open("w", buffering=1) as opened:
        os.dup2(opened.fileno(), 1)
        os.dup2(opened.fileno(), 2)
        sys.argv = ["srgan-train", *arguments]
        torch.set_num_threads(1)
        if not report:  # which takes longer than such a training
            training_run.report = lambda *_: 0.0
        train.main()


class Command:
    """``srgan-train`` with these arguments, running."""

    def __init__(self, said: Path, *arguments: object, report: bool = False) -> None:
        self.said = said
        self.process = CONTEXT.Process(target=_main, args=([str(each) for each in arguments], str(said), report))
        self.process.start()

    def end(self) -> tuple[int, str]:
        """Wait; exit status and what it said."""
        self.process.join(200)
        assert self.process.exitcode is not None, self.said.read_text()
        return self.process.exitcode, self.said.read_text()

    def at(self, run_dir: Path, step: int, signum: int) -> None:
        """Send a signal once the curve has come to ``step``, or the process has ended."""
        while self.process.is_alive() and max(curve(run_dir), default=0) < step:
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signum)

    def stop_when_it_trains(self, run_dir: Path) -> None:
        """SIGSTOP a resume, once it has written its configuration: it holds the lock, and trains next."""

        def written() -> tuple[int, int]:
            status = (run_dir / "config.yaml").stat()
            return status.st_ino, status.st_mtime_ns

        before = written()
        while self.process.is_alive() and written() == before:
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGSTOP)

    def kill_at(self, run_dir: Path, step: int) -> None:
        """SIGKILL."""
        self.at(run_dir, step, signal.SIGKILL)
        self.process.join(60)


def curve(run_dir: Path) -> list[int]:
    """The iterations of the rows of ``metrics.csv`` with losses, in their order."""
    path = run_dir / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if (row.get("step") or "").isdigit()]
    return [int(row["step"]) for row in rows if row.get("learning_rate/generator")]
