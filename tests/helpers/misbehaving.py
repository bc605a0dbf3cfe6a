"""What a damaged or hostile file might make the process do that reads it: tasks for ``srgan_lit.web.children``."""

import ctypes
import os
from pathlib import Path

from srgan_lit.common.errors import UsageError
from srgan_lit.web.limits import Limits

MEGABYTES = 300


def stuck(tell, _held):
    """In C, with much memory, and so that no other thread of Python's runs."""
    kept = bytearray(MEGABYTES * 2**20)
    tell({"told": os.getpid()})
    return sum(range(10**14)) + len(kept)


def greedy(_tell, _held):
    return len(bytearray(4 * 10**9))


def greedy_when_allowed(_tell, held, *, more):
    held.longer(Limits(seconds=0, processor_seconds=0, memory=more))
    return len(bytearray(1_500_000_000))


def crashing(_tell, _held):
    return ctypes.string_at(0)


def refusing(_tell, _held):
    raise UsageError("not this one")


def faulty(_tell, _held):
    return 1 / 0


def leaving(_tell, _held):
    raise SystemExit("oh")


def reading(_tell, _held, *, path):
    return Path(path).read_text(encoding="utf-8")


def counting(tell, _held, *, to):
    for number in range(to):
        tell({"told": number})
    return os.getpid()
