"""How long the commands take until the first useful thing, next to the import that they cannot do without."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from srgan_lit import pictures, sources
from srgan_lit.errors import SRGANError

_POLL_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Start:
    """Arguments of python for a command, a file in which it leaves a second line when it has started, and an import.

    The command finds ``small.png``, 64x64, in its folder.
    """

    name: str
    arguments: list[str]
    file: str | None
    beside: str

    def seconds(self) -> tuple[float, float]:
        """Of the import alone, to its end; of the command, until it has started or ends. Each is a new process.

        Raises:
            SRGANError: the command failed.
        """
        with tempfile.TemporaryDirectory(prefix="srgan_lit-benchmark-") as folder:
            photo = pictures.read_picture(sources.SAMPLE / "test" / "chelsea.png").pixels
            pictures.write_png(Path(folder) / "small.png", photo[100:164, 100:164])
            alone = _timed(["-c", f"import {self.beside}"], cwd=folder)
            return alone, _timed(self.arguments, cwd=folder, file=self.file)


def _timed(arguments: list[str], *, cwd: str, file: str | None = None) -> float:
    with (Path(cwd) / "said").open("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], cwd=cwd, stdout=said, stderr=said)
        try:
            while process.poll() is None and not (file and _second_line(Path(cwd) / file)):
                time.sleep(_POLL_S)
            took = time.perf_counter() - start
        finally:
            process.kill()
            process.wait()
        if process.returncode > 0:
            said.seek(0)
            raise SRGANError(f"python {' '.join(arguments)}: {said.read().strip() or process.returncode}")
        return took


def _second_line(path: Path) -> bool:
    return path.is_file() and len(path.read_text(encoding="utf-8").splitlines()) > 1


def starts() -> Iterator[Start]:
    """The first iteration of a training on the embedded pictures, and the first picture enlarged."""
    train = ["-m", "srgan_lit.train", "experiment=demo", "log_every=1", "run_dir=run"]
    yield Start(name="train, first iteration", arguments=train, file="run/metrics.csv", beside="lightning")
    upscale = ["-m", "srgan_lit.upscale", "small.png", "-o", "large.png"]
    yield Start(name="upscale, first picture", arguments=upscale, file=None, beside="torch")
