"""Processes that work on strangers' files: what a file may make them do costs its own task and nothing else."""

import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers.page_server import until
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.web import limits
from srgan_lit.web.children import Child, Children
from srgan_lit.web.limits import Limits

AMPLE = Limits(seconds=300, processor_seconds=300, memory=10**9)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not hold processes to it")


@pytest.fixture(scope="module")
def children() -> Children:
    return Children("srgan_lit.web.reading")


def told(child: Child, task: str, held: Limits = AMPLE, **arguments: Any) -> list[Any]:
    """What a task tells; its result is the last."""
    said = child.do(f"helpers.misbehaving:{task}", held, wait=0.01, **arguments)
    return [each.get("told", each.get("result")) for each in said if each and "pid" not in each]


def test_a_child_does_one_task_after_another_and_tells_of_them(children: Children) -> None:
    child = children.start()
    *numbers, first = told(child, "counting", to=3)
    assert numbers == [0, 1, 2]
    assert child.lives()
    assert told(child, "counting", to=0) == [first], "the same process"
    child.kill()
    until(lambda: not psutil.pid_exists(first))
    assert not child.lives()


def test_one_that_is_stuck_is_killed_at_the_end_of_its_time_and_its_memory_comes_back(children: Children) -> None:
    child = children.start()
    brief = Limits(seconds=2, processor_seconds=60, memory=10**9)
    said = child.do("helpers.misbehaving:stuck", brief, wait=0.01)
    process = next(psutil.Process(each["told"]) for each in said if each and "told" in each)
    assert process.memory_info().rss > 300 * 2**20
    with pytest.raises(SRGANError, match="far longer"):
        list(said)
    until(lambda: not process.is_running())
    assert not child.lives()


def test_time_may_be_allowed_and_who_leaves_ends_the_task(children: Children) -> None:
    child = children.start()
    said = child.do("helpers.misbehaving:stuck", Limits(seconds=1, processor_seconds=60, memory=10**9), wait=0.2)
    process = next(psutil.Process(each["told"]) for each in said if each and "told" in each)
    child.allow(300)
    assert [next(said) for _ in range(8)] == [None] * 8, "after its first second too"
    said.close()
    until(lambda: not process.is_running())


@on_linux
def test_processor_time_is_held_to_by_the_system(children: Children) -> None:
    child = children.start()
    with pytest.raises(SRGANError, match="ended the process"):
        told(child, "stuck", Limits(seconds=300, processor_seconds=1, memory=10**9))
    assert not child.lives()


@on_linux
def test_memory_is_held_to_by_the_system_and_may_be_allowed(children: Children) -> None:
    child = children.start()
    with pytest.raises(SRGANError, match="out of memory"):
        told(child, "greedy")
    with pytest.raises(SRGANError, match="out of memory"):
        told(child, "greedy_when_allowed", more=0)
    assert told(child, "greedy_when_allowed", more=10**9) == [1_500_000_000]
    child.kill()


def test_a_crash_costs_its_own_task(children: Children) -> None:
    child, other = children.start(), children.start()
    with pytest.raises(SRGANError, match="ended the process"):
        told(child, "crashing")
    assert not child.lives()
    assert told(other, "counting", to=1)[0] == 0
    other.kill()


def test_errors_are_what_they_were(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    child = Children("srgan_lit.web.reading").start()
    with pytest.raises(UsageError, match="not this one"):
        told(child, "refusing")
    with pytest.raises(FileNotFoundError):
        told(child, "reading", path=str(tmp_path / "none"))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: division by zero"):
        told(child, "faulty")
    assert "Traceback" in capfd.readouterr().err
    with pytest.raises(RuntimeError, match="SystemExit: oh"):
        told(child, "leaving")
    (tmp_path / "here").write_text("text")
    assert told(child, "reading", path=str(tmp_path / "here")) == ["text"], "and it goes on"
    child.kill()


@on_linux
def test_a_nursery_that_was_killed_is_replaced() -> None:
    children = Children("srgan_lit.web.reading")
    [pid] = told(children.start(), "counting", to=0)
    nursery = psutil.Process(pid).parent()
    assert nursery is not None
    nursery.kill()
    until(lambda: not nursery.is_running() or nursery.status() == psutil.STATUS_ZOMBIE)
    assert told(children.start(), "counting", to=1)[0] == 0


def test_limits_grow_with_the_size() -> None:
    small, large = limits.of_reading(1000, 10**6), limits.of_reading(10**8, 25 * 10**6)
    assert (small.seconds, large.seconds) == (pytest.approx(30, abs=0.01), 130)
    assert (small.memory or 0) < (large.memory or 0) == int(0.5e9) + 24 * 25 * 10**6 + 4 * 10**8
    frame = limits.of_frame(10**6, 16 * 10**6, 2e-5, frames=1)
    assert frame.seconds == pytest.approx(0.1 + 400 + 160)
    assert frame.memory == 64 * 10**6 + 48 * 16 * 10**6
