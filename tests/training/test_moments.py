"""Trainings that are told to stop, killed, stopped for a while, moved or left without room at each moment of their
lives: what ends is the uninterrupted run."""

import contextlib
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from helpers import moments, tiny_runs, tiny_training
from helpers.forked_runs import Command, curve
from helpers.patience import HANGS_SECONDS, until
from srgan_lit.training.callbacks.stop_on_signal import StopOnSignal

P, A = 4, 4
TINY = [
    "experiment=demo", "init_from=null", "model.blocks=1", "model.features=4", "data=folder", "data.crop=24",
    "data.batch_size=1", f"phase.pretrain.iterations={P}", "phase.pretrain.warmup=0",
    f"phase.adversarial.iterations={A}", "perceptual.backbone=vgg16", "perceptual.layer=1_2",
    "perceptual.weights=random", "validate_every=2", "checkpoint_every=2", "log_every=1",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.accelerator=cpu"]

# Hook of Lightning and iteration: where a signal falls.
MOMENTS = {
    "before the first iteration": ("on_train_start", None),
    "in an iteration": ("on_train_batch_start", 3),
    "between iteration and validation": ("on_train_batch_end", 2),
    "at the beginning of a validation": ("on_validation_start", 2),
    "in a validation": ("on_validation_batch_start", 2),
    "at the end of a validation": ("on_validation_end", 2),
    "while a checkpoint is made": ("on_save_checkpoint", 2),
    "at the end of pretraining": ("on_validation_end", P),
    "while its checkpoint is made": ("on_save_checkpoint", P),
    "at the change of phases": ("on_train_batch_start", P),
    "after the first adversarial iteration": ("on_train_batch_end", P + 1),
    "in the last validation": ("on_validation_batch_start", P + A),
    "at the end": ("on_train_end", None),
    "after the end": ("on_fit_end", None),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    status, said = begin(photos, folder / "run", report=True).end()
    assert status == 0, said
    return folder / "run"


def begin(photos, run_dir, *also, report=False):
    return Command(run_dir.parent / "said", *TINY, f"data.root={photos}", f"run_dir={run_dir}", *also, report=report)


def resume(run_dir, *also, report=False):
    """Its end, which is the uninterrupted run's."""
    status, said = Command(
        run_dir.parent / "said", f"resume={run_dir}", "trust_targets=true", *also, report=report
    ).end()
    assert status == 0, said
    return said


def assert_whole(run_dir, uninterrupted):
    assert curve(run_dir) == list(range(1, P + A + 1)), "each iteration once"
    tiny_runs.assert_same_run(run_dir, uninterrupted)
    assert not list(run_dir.rglob(".*.part*"))


# ---------------------------------------------------------------------- one process


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.slow
def test_a_signal_at_each_moment(signum, name, photos, uninterrupted, tmp_path):
    hook, at = MOMENTS[name]
    settings = {} if at is None else {"at": at}
    process = begin(photos, tmp_path / "run", *moments.signal_at(hook, signum, tmp_path / "token", **settings))
    status, said = process.end()
    assert not (tmp_path / "token").exists(), "the moment came"
    assert "Traceback" not in said
    if signum == signal.SIGKILL:
        assert status == -signal.SIGKILL
    elif status:  # else it was done
        assert status in (128 + signal.SIGTERM, -signal.SIGTERM)
        if status > 0:
            assert "stopped by SIGTERM after iteration" in said.splitlines()[-1]
            assert "'trust_targets=[helpers.moments.Signal]'" in said.splitlines()[-1], "the command can be pasted"
    resume(tmp_path / "run")
    assert_whole(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.slow
def test_a_signal_in_the_report(signum, photos, uninterrupted, tmp_path):
    """Ten times each, from the first moment of it to its end."""
    reached = 0
    for number in range(10):
        run_dir = tmp_path / str(number) / "run"
        run_dir.parent.mkdir()
        process = begin(photos, run_dir, report=True)
        # A few right after the result, which may still be in the training; the others when the report is there in part.
        begins = run_dir / ("generator.safetensors" if number < 3 else "report")
        until(lambda begins=begins: begins.exists(), every=0.001)
        time.sleep(0.02 * number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.process.pid, signum)
        status, said = process.end()
        reached += status != 0
        assert "Traceback" not in said
        resume(run_dir, report=True)
        assert_whole(run_dir, uninterrupted)
        for name in ("results.json", "results.md", "report.html", "comparison.png"):
            assert (run_dir / "report" / name).is_file()
    assert reached > 2


@pytest.mark.slow
def test_a_clock_that_goes_backwards_while_it_trains_is_killed_and_resumed(photos, uninterrupted, tmp_path):
    back = "+callbacks.clock._target_=helpers.moments.ClockSetBack"
    run_dir = tmp_path / "run"
    begin(photos, run_dir, back).kill_at(run_dir, 5)
    resume(run_dir)
    assert_whole(run_dir, uninterrupted)


# ---------------------------------------------------------------------- folders and disks


@pytest.mark.slow
def test_a_run_directory_that_is_moved_while_it_trains_goes_on_from_its_new_place(photos, uninterrupted, tmp_path):
    """Five times, at each of five iterations."""
    for step in (1, 2, 3, 5, 6):
        run_dir, moved = tmp_path / str(step) / "run", tmp_path / str(step) / "moved"
        run_dir.parent.mkdir()
        token = tmp_path / "token"
        process = begin(photos, run_dir, *moments.signal_at("on_train_batch_start", signal.SIGSTOP, token, at=step))
        until(lambda token=token: not token.exists())
        run_dir.rename(moved)
        os.kill(process.process.pid, signal.SIGCONT)
        status, said = process.end()
        assert status == 1
        assert "was moved or removed" in said.splitlines()[-1]
        assert "Traceback" not in said
        assert not run_dir.exists(), "nothing is begun at the old place"
        resume(moved)
        assert_whole(moved, uninterrupted)


@pytest.mark.slow
def test_a_run_behind_a_link_that_then_leads_elsewhere(photos, uninterrupted, tmp_path):
    (tmp_path / "disk 1").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk 1")
    begin(photos, tmp_path / "runs" / "run").kill_at(tmp_path / "runs" / "run", 5)
    shutil.move(tmp_path / "disk 1", tmp_path / "disk 2")
    (tmp_path / "runs").unlink()
    (tmp_path / "runs").symlink_to(tmp_path / "disk 2")
    resume(tmp_path / "runs" / "run")
    assert_whole(tmp_path / "disk 2" / "run", uninterrupted)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 MB: two checkpoints of 50 MB, and one that is being written."""
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)]
    if (done := subprocess.run(mount, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_checkpoint_and_then_freed(photos, uninterrupted, small_disk, tmp_path):
    """At each of three checkpoints: what was saved before stays, and the run goes on from it."""
    for step in (2, P, P + 2):
        run_dir, token = small_disk / "run", tmp_path / "token"
        process = begin(
            photos, run_dir, *moments.signal_at("on_save_checkpoint", signal.SIGSTOP, token, at=step),
            f"data.cache={tmp_path}/cache",
        )  # fmt: skip
        until(lambda token=token: not token.exists())
        with (small_disk / "ballast").open("wb") as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(2**16))
                ballast.flush()
        before = {path.name: path.read_bytes() for path in (run_dir / "checkpoints").glob("*.ckpt")}
        os.kill(process.process.pid, signal.SIGCONT)
        status, said = process.end()
        assert status == 1
        assert "No space left on device" in said.splitlines()[-1]
        assert "Traceback" not in said
        after = {path.name: path.read_bytes() for path in (run_dir / "checkpoints").glob("*.ckpt")}
        assert after == before
        (small_disk / "ballast").unlink()
        resume(run_dir)
        assert_whole(run_dir, uninterrupted)
        shutil.rmtree(run_dir)


@pytest.mark.slow
def test_of_two_trainings_that_build_one_cache_the_other_goes_on_when_one_is_killed(photos, uninterrupted, tmp_path):
    """Eight times, at random moments from the first byte of the cache on."""
    waited = 0
    many = tmp_path / "many"
    many.mkdir()
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (480, 480, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(many / f"{number}.png")
    whole = None
    for number in range(8):
        folder, chance = tmp_path / str(number), random.Random(number)
        (folder / "a").mkdir(parents=True)
        (folder / "b").mkdir()
        cache = f"data.cache={folder}/cache"
        first, second = (begin(many, folder / name / "run", cache) for name in "ab")
        until(lambda folder=folder: list((folder / "cache").rglob("pixels.*")), every=0.001)
        time.sleep(chance.uniform(0, 0.3))
        building = bool(list((folder / "cache").rglob("pixels.*.part")))
        first.process.kill()
        first.process.join(60)
        status, said = second.end()
        assert status == 0, said
        waited += building
        assert not list((folder / "cache").rglob("*.part")), "nothing half packed is left"
        whole = whole or folder / "b" / "run"
        assert_whole(folder / "b" / "run", whole)
        status, said = begin(many, folder / "a" / "run2", cache).end()
        assert status == 0, said
        assert_whole(folder / "a" / "run2", whole)
    assert waited, "it was killed while it built"


# ---------------------------------------------------------------------- two processes


@pytest.fixture(scope="module")
def by_two(photos, tmp_path_factory):
    """The uninterrupted run of two processes."""
    run_dir = tmp_path_factory.mktemp("two") / "run"
    result = tiny_runs.run(command(photos, run_dir))
    assert result.returncode == 0, result.stderr
    return run_dir


def command(photos, run_dir, *also):
    given = [*TINY, *TWO, f"data.root={photos}", f"run_dir={run_dir}", *also]
    return [sys.executable, "-m", "srgan_lit.train", *given]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    "name",
    ["before the first iteration", "in an iteration", "in a validation", "while a checkpoint is made",
     "at the change of phases", "in the last validation", "at the end"],
)  # fmt: skip
def test_a_process_of_two_is_killed_at_each_moment(name, rank, photos, by_two, tmp_path):
    """The other one ends, too, and both go on. Statistics of BatchNorm part between checkpoints: to rounding."""
    hook, at = MOMENTS[name]
    settings = {} if at is None else {"at": at}
    run_dir = tmp_path / "run"
    given = moments.signal_at(hook, signal.SIGKILL, tmp_path / "token", rank=rank, **settings)
    result = subprocess.run(command(photos, run_dir, *given), capture_output=True, text=True, timeout=HANGS_SECONDS)
    assert not (tmp_path / "token").exists(), "the moment came"
    over = name == "at the end" and rank == 1  # they exchange nothing any more: the first has its result all the same
    assert result.returncode == (-signal.SIGKILL if rank == 0 else 0 if over else 1), result.stderr
    until(lambda: not living(run_dir))
    if not over:
        tiny_runs.resume(run_dir, "trust_targets=true")
    assert curve(run_dir) == list(range(1, P + A + 1)), "each iteration once"
    assert tiny_runs.tensors_close(run_dir / "generator.safetensors", by_two / "generator.safetensors", 1e-4)


def living(run_dir):
    """The processes whose command line names a run directory; a fork has its parent's, so these are none."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if f"run_dir={run_dir}" in (process.info["cmdline"] or [])]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_of_two_that_stands_still_for_minutes_is_waited_for(rank, photos, by_two, tmp_path):
    run_dir, token = tmp_path / "run", tmp_path / "token"
    given = moments.signal_at("on_train_batch_start", signal.SIGSTOP, token, at=3, rank=rank)
    process = subprocess.Popen(command(photos, run_dir, *given), stderr=subprocess.PIPE, text=True)
    until(lambda: not token.exists())
    time.sleep(150)
    assert process.poll() is None
    for stopped in living(run_dir):
        stopped.resume()
    _, stderr = process.communicate(timeout=HANGS_SECONDS)
    assert process.returncode == 0, stderr
    assert curve(run_dir) == list(range(1, P + A + 1))
    assert tiny_runs.tensors_equal(run_dir / "generator.safetensors", by_two / "generator.safetensors")


# ---------------------------------------------------------------------- a sweep


@pytest.mark.slow
def test_a_sweep_of_optuna_that_is_killed_goes_on_in_its_study(photos, tmp_path):
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    first, second = tmp_path / "first", tmp_path / "second"
    given = [*TINY, "phase=pretrain", "sweep=pretrain", f"data.root={photos}", "hydra.sweeper.n_trials=3"]
    given = [each for each in given if not each.startswith(("phase.adversarial", "perceptual."))]
    space = "phase.pretrain.learning_rate=choice(1e-4,1e-3)"
    train = [sys.executable, "-m", "srgan_lit.train"]
    process = tiny_runs.start([*train, *given, space, f"run_dir={first}"], own_group=True)
    until(lambda: curve(first / "1") or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=HANGS_SECONDS)
    storage = f"sqlite:///{first}/study.db"
    result = tiny_runs.run([*train, *given, space, f"run_dir={second}", f"hydra.sweeper.storage={storage}"])
    assert result.returncode == 0, result.stderr
    (summary,) = optuna.study.get_all_study_summaries(storage)
    study = optuna.load_study(study_name=summary.study_name, storage=storage)
    done = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert len(done) == 4, "one before the kill, three after it"
    with (second / "results.csv").open(newline="") as opened:
        assert len(list(csv.DictReader(opened))) == 3
    assert (first / "0" / "report" / "results.json").is_file()
    resume(first / "1", report=True)  # the trial that was killed can be ended, too
    assert (first / "1" / "report" / "results.json").is_file()


# ---------------------------------------------------------------------- what a fit leaves


def test_a_fit_leaves_the_handlers_of_signals_that_it_found(tmp_path):
    """Lightning's own, which only takes note of SIGTERM, stayed: a report could not be ended by it."""
    found = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    tiny_training.fit(tiny_training.make(tiny_training.plan(pretrain=2)), tmp_path, StopOnSignal())
    assert {signum: signal.getsignal(signum) for signum in found} == found
