"""How far a long command is: a bar in a terminal, else a line on stderr every so often. No torch."""

import sys
import time

from srgan_lit.common import command_line

_EVERY_SECONDS = 30.0


class Progress:
    """A bar with the time that is left, or lines with it where stderr is a file.

    Args:
        total: of the work, in any unit; 0 if it is not known.
        unit: its name, for the bar.
    """

    def __init__(self, total: float, *, unit: str) -> None:
        from tqdm import tqdm

        self._total, self._done, self._what = total, 0.0, ""
        self._began = self._told = time.monotonic()
        self._bar = tqdm(total=total or None, unit=unit, unit_scale=True, disable=None, dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def at(self, what: str) -> None:
        """Say what is being worked on."""
        self._what = what
        self._bar.set_postfix_str(what)

    def expect(self, total: float) -> None:
        """Say how much there is, where it was not known before."""
        self._total = total
        self._bar.reset(total or None)

    def add(self, work: float) -> None:
        """Count ``work`` as done."""
        self._done += work
        self._bar.update(work)
        now = time.monotonic()
        if sys.stderr.isatty() or now - self._told < _EVERY_SECONDS:
            return
        self._told = now
        if not self._total:
            command_line.complain(f"{self._what}: {self._done:g} done, of an unknown number")
        elif self._done < self._total:
            share = self._done / self._total
            left = duration((now - self._began) * (1 / share - 1))
            command_line.complain(f"{self._what}: {share:.0%} of all done, about {left} left")


def duration(seconds: float) -> str:
    """``seconds`` as a person says it."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
