"""The training command in processes that need not import anything: dozens of kills and resumes in a test's time."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers import warm_python

# The report takes longer than such a training.
WITHOUT_REPORT = """
import sys
from srgan_lit import train
from srgan_lit.training import run

run.report = lambda *_: 0.0
sys.argv[0] = "srgan-train"
train.main()
"""


class Command:
    """``srgan-train`` with these arguments, running."""

    def __init__(self, said: Path, *arguments: object, report: bool = False) -> None:
        self.said = said
        program = ["-m", "srgan_lit.train"] if report else ["-c", WITHOUT_REPORT]
        with said.open("w") as opened:
            self.process = warm_python.Popen(
                [sys.executable, *program, *map(str, arguments)], stdout=opened, stderr=subprocess.STDOUT
            )

    def end(self) -> tuple[int, str]:
        """Wait; exit status and what it said."""
        try:
            return self.process.wait(200), self.said.read_text()
        except subprocess.TimeoutExpired as error:
            raise AssertionError(self.said.read_text()) from error

    def at(self, run_dir: Path, step: int, signum: int) -> None:
        """Send a signal once the curve has come to ``step``, or the process has ended."""
        while self.process.poll() is None and max(curve(run_dir), default=0) < step:
            time.sleep(0.002)
        self.process.send_signal(signum)

    def stop_when_it_trains(self, run_dir: Path) -> None:
        """SIGSTOP a resume, once it has written its configuration: it holds the lock, and trains next."""

        def written() -> tuple[int, int]:
            status = (run_dir / "config.yaml").stat()
            return status.st_ino, status.st_mtime_ns

        before = written()
        while self.process.poll() is None and written() == before:
            time.sleep(0.002)
        self.process.send_signal(signal.SIGSTOP)

    def kill_at(self, run_dir: Path, step: int) -> None:
        """SIGKILL."""
        self.at(run_dir, step, signal.SIGKILL)
        self.process.wait(60)


def curve(run_dir: Path) -> list[int]:
    """The iterations of the rows of ``metrics.csv`` with losses, in their order."""
    path = run_dir / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if (row.get("step") or "").isdigit()]
    return [int(row["step"]) for row in rows if row.get("learning_rate/generator")]
