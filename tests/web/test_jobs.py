"""The page's queue by itself: what is kept, for how long, and that nothing ends it."""

import dataclasses
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.page_server import until
from srgan_lit.common.errors import SRGANError
from srgan_lit.upscaling.target_sizes import TargetSize
from srgan_lit.web import jobs
from srgan_lit.web.jobs import Full, FullForClient, Job, Jobs, Options

OPTIONS = Options(model="m")


def queue(folder: Path, work: Callable[[Job], None], *, most: int = 10, client: int = 10, room: int = 1000) -> Jobs:
    return Jobs(lambda: folder, work, most=most, most_per_client=client, most_bytes=room)


def copied(job: Job) -> None:
    job.go_on()
    shutil.copy(job.source, job.result)
    job.go_on()


def done(queue: Jobs, size: int = 10) -> Job:
    with queue.receiving("a", ".png", OPTIONS, expected=size) as job:
        job.source.write_bytes(bytes(size))
    until(lambda: job.ended)
    return job


def test_results_are_kept_for_a_while_and_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 2)
    made = queue(tmp_path, copied)

    def here(*expected: Job) -> bool:
        return bool(until(lambda: {path.name for path in tmp_path.iterdir()} == {job.id for job in expected}))

    one, two, three = done(made), done(made), done(made)
    assert here(two, three)
    assert made.find(one.id) is None
    monkeypatch.setattr(jobs, "KEPT_SECONDS", -1)
    old = done(made)
    assert here()
    assert made.find(old.id) is None
    monkeypatch.setattr(jobs, "KEPT_SECONDS", 3600)
    monkeypatch.setattr(jobs, "GONE_SECONDS", -1)  # nobody has asked for it lately
    done(made)
    assert here()
    made.stop()


def test_results_stay_for_as_long_as_their_page_asks_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = queue(tmp_path, copied)
    asked, forgotten = done(made), done(made)
    monkeypatch.setattr(jobs, "KEPT_SECONDS", 1000)
    asked.ended -= 2000
    forgotten.ended -= 2000
    forgotten.seen -= 2000
    done(made)
    until(lambda: made.find(forgotten.id) is None)
    assert made.find(asked.id) is asked
    made.stop()


def test_all_that_is_kept_stays_within_the_limit_on_disk(tmp_path: Path) -> None:
    def used() -> int:
        return sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())

    made = queue(tmp_path, copied, room=1000)
    first, second = done(made, 300), done(made, 300)
    assert (first.state, second.state) == ("done", "done")
    third = done(made, 450)  # with its source it is 900 while it is made
    assert third.state == "done"
    assert made.find(first.id) is None, "the oldest result went first"
    assert used() <= 1000
    large = done(made, 600)
    assert large.state == "failed"
    assert "does not fit into the 1e-06 GB of disk" in large.error
    assert used() <= 1000
    with (
        pytest.raises(SRGANError, match="does not fit") as refused,
        made.receiving("b", ".png", OPTIONS, expected=1001),
    ):
        pass
    assert not isinstance(refused.value, Full), "to wait would not help"
    with (
        made.receiving("c", ".png", OPTIONS, expected=600) as job,
        pytest.raises(Full, match="GB of disk"),
        made.receiving("d", ".png", OPTIONS, expected=600),
    ):
        pass
    until(lambda: job.ended)
    assert done(made).state == "done"
    made.stop()


def test_one_client_cannot_take_every_place(tmp_path: Path) -> None:
    made = queue(tmp_path, copied, most=4, client=2)
    with (
        made.receiving("a", ".png", OPTIONS, client="one"),
        made.receiving("b", ".png", OPTIONS, client="one"),
    ):
        with pytest.raises(FullForClient), made.receiving("c", ".png", OPTIONS, client="one"):
            pass
        with made.receiving("d", ".png", OPTIONS, client="another") as job:
            job.source.write_bytes(b"x")
    until(lambda: job.state == "done")
    made.stop()


def test_the_time_left_is_told_by_what_was_measured(tmp_path: Path) -> None:
    go = threading.Semaphore(0)

    def work(job: Job) -> None:
        job.progress = 0.25
        go.acquire()
        job.progress = 0.5
        go.acquire()
        copied(job)

    def sent(pixels: int, options: Options = OPTIONS) -> Job:
        with made.receiving("a", ".png", options) as job:
            job.source.write_bytes(b"x")
            job.pixels = pixels
        return job

    made = queue(tmp_path, work)
    first, second = sent(100), sent(300)
    until(lambda: first.progress == 0.25)
    assert made.seconds_left(second) is None, "nothing of its kind has been measured"
    first.started -= 60
    assert 180 <= (made.seconds_left(first) or 0) < 240  # three times what a quarter took
    go.release()
    until(lambda: first.progress == 0.5)
    assert 60 <= (made.seconds_left(first) or 0) < 120
    third, other = sent(100, dataclasses.replace(OPTIONS, size=TargetSize(scale=2))), sent(100, Options(model="n"))
    go.release()
    until(lambda: second.progress == 0.25)
    second.started -= 60
    alone = made.seconds_left(second)
    both = made.seconds_left(third)
    assert alone
    assert both
    assert both >= alone + 60, "as long as the first, after the second"
    assert made.seconds_left(other) is None
    for _ in range(8):
        go.release()
    until(lambda: other.ended)
    made.stop()


@pytest.mark.parametrize("fault", [ZeroDivisionError("oh"), SystemExit("oh")])
def test_a_fault_of_one_job_does_not_end_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: BaseException
) -> None:
    def work(job: Job) -> None:
        raise fault

    made = queue(tmp_path, work, most=2)
    with (
        made.receiving("a", ".png", OPTIONS) as one,
        made.receiving("b", ".png", OPTIONS) as two,
        pytest.raises(Full),
        made.receiving("c", ".png", OPTIONS),
    ):
        pass
    until(lambda: one.ended and two.ended)
    assert f"{type(fault).__name__}: oh" in one.error
    assert f"{type(fault).__name__}: oh" in two.error
    assert (made.health()["status"], made.health()["done"]) == ("ok", 0)
    made.stop()
    assert "a: something went wrong" in capsys.readouterr().err


def test_a_folder_that_disappears_costs_its_own_picture_only(tmp_path: Path) -> None:
    def work(job: Job) -> None:
        if job.stem == "lost":
            shutil.rmtree(job.folder)
        copied(job)

    made = queue(tmp_path, work)
    with made.receiving("lost", ".png", OPTIONS) as lost:
        lost.source.write_bytes(b"x")
    until(lambda: lost.ended)
    assert "send it again" in lost.error
    kept = done(made)
    shutil.rmtree(kept.folder)  # and one whose result was waiting to be fetched
    assert done(made).state == "done"
    made.stop()


def test_health_says_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()

    def given() -> Path:
        folder.stat()
        return folder

    made = Jobs(given, copied, most=1, most_per_client=1, most_bytes=1000)
    assert done(made).state == "done"
    assert made.health() == {"status": "ok", "receiving": 0, "waiting": 0, "working": 0, "done": 1}
    shutil.rmtree(folder)
    assert "cannot be kept" in str(made.health()["status"])
    folder.mkdir()
    made.stop()
    assert "not worked on any more" in str(made.health()["status"])
