"""A command that a signal ends removes what it has begun, whatever arrives meanwhile."""

import signal
import sys
from pathlib import Path

import pytest

from helpers import warm_python

# A generator is closed when nobody holds it any more: after the command has been left.
COMMAND = """
import argparse, contextlib, os, signal, sys, time
from pathlib import Path
from srgan_lit.common import command_line

first, second, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])

def begun(name):
    (folder / name).touch()
    try:
        yield
    finally:
        os.kill(os.getpid(), second)
        time.sleep(0.1)
        (folder / name).unlink()

def command(arguments):
    held = begun("held")
    next(held)
    with contextlib.contextmanager(begun)("temporary"):
        os.kill(os.getpid(), first)
        time.sleep(60)
    return 0

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # whatever the tests run under
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
sys.exit(command_line.run(argparse.ArgumentParser, command, []))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
@pytest.mark.parametrize("first", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_a_second_signal_does_not_end_the_removal_of_what_was_begun(first: str, second: str, tmp_path: Path) -> None:
    numbers = [getattr(signal, first), getattr(signal, second)]
    ended = warm_python.run(
        [sys.executable, "-c", COMMAND, *(str(int(number)) for number in numbers), tmp_path],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    assert ended.stderr == ("interrupted\n" if first == "SIGINT" else f"ended by {first}\n")
    assert ended.returncode == 128 + numbers[0]
