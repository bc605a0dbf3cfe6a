"""Freed memory stays in the process where that is asked for: counted in page faults, in a process of its own."""

import platform
import subprocess
import sys

import pytest

from helpers import tiny_training
from srgan_lit.common import freed_memory

LOOP = """
import resource, sys
from srgan_lit.common import freed_memory
if sys.argv[1] == "keep":
    assert freed_memory.keep()
for _ in range(3):
    b"x" * 2**26
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b"x" * 2**26
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    return int(subprocess.run([sys.executable, "-c", LOOP, mode], capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone can be told")
def test_what_is_freed_is_not_fetched_again():
    assert faults("keep") < 100
    assert faults("leave") > 1000, "else nothing is won by it here"


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda _: pytest.fail("touched"))
    assert not freed_memory.keep()


def test_a_training_on_the_cpu_keeps_it(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(freed_memory, "keep", lambda: asked.append("keep"))
    module = tiny_training.make(tiny_training.plan(pretrain=1))
    tiny_training.fit(module, tmp_path)
    assert asked == ["keep"]
