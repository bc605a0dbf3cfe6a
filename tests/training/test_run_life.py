"""The life of run directories: begun, killed, resumed, copied, moved, extended, two at once; and hundreds of rounds.

The model that they are held against: a run of N iterations ends with the generator of the uninterrupted one, bit for
bit, with one row of the curve for each iteration; what is refused changes nothing.
"""

import contextlib
import os
import random
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from omegaconf import OmegaConf
from PIL import Image

from helpers.forked_runs import Command, curve
from helpers.tiny_runs import tensors_equal
from srgan_lit.common.errors import UsageError
from srgan_lit.config import quoting
from srgan_lit.training import checkpoints, run_directory

TINY = [
    "experiment=demo", "phase=pretrain", "init_from=null", "model.blocks=1", "model.features=4", "data=folder",
    "data.root=photos", "data.crop=24", "data.batch_size=1", "phase.pretrain.warmup=0",
    "phase.pretrain.schedule=constant", "validate_every=4", "checkpoint_every=2", "log_every=1",
]  # fmt: skip
LENGTHS = (6, 8, 10)
ROUNDS = int(os.environ.get("SRGAN_LIT_ROUNDS", "200"))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("train.log", ".lock") and ".part" not in path.name
    }


def is_occupied(run_dir):
    try:
        with run_directory.occupied(run_dir):
            return False
    except UsageError:
        return True


class Desk:
    """A folder with pictures and run directories, and the commands that work on them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.photos = folder / "photos"
        self.photos.mkdir(parents=True)
        for number in range(6):
            pixels = np.random.default_rng(number).integers(0, 256, (24, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.photos / f"{number}.png")
        self.uninterrupted: dict[int, Path] = {}

    def new_path(self) -> Path:
        """Where nothing is yet; some names need quotes."""
        self.count += 1
        return self.folder / f"run {self.count}, {'x=y' * (self.count % 2)}"

    def begin(self, run_dir: Path, length: int, *also: str) -> Command:
        given = [*TINY, f"data.root={self.photos}", f"phase.pretrain.iterations={length}"]
        return Command(self.folder / "said", *given, quoting.override("run_dir", run_dir), *also)

    def resume(self, run_dir: Path, *also: str, said: str = "said") -> Command:
        return Command(self.folder / said, quoting.override("resume", run_dir), *also)

    def whole(self, length: int) -> Path:
        """An uninterrupted run."""
        if length not in self.uninterrupted:
            self.uninterrupted[length] = self.new_path()
            status, said = self.begin(self.uninterrupted[length], length).end()
            assert status == 0, said
        return self.uninterrupted[length]

    def check_end(self, run_dir: Path, length: int) -> None:
        """It is the uninterrupted run."""
        assert curve(run_dir) == list(range(1, length + 1)), "each iteration once"
        assert not list(run_dir.rglob(".*.part*")), "nothing half written is left"
        for name in ("generator.safetensors", "srresnet.safetensors", "best.safetensors"):
            assert tensors_equal(run_dir / name, self.whole(length) / name), name

    def check_files(self, run_dir: Path) -> None:
        """One numbered checkpoint and the last; another one for a moment, in which a kill may fall."""
        # What a kill left half written is hidden, and goes with the next start.
        names = {path.name for path in (run_dir / "checkpoints").glob("*.ckpt") if not path.name.startswith(".")}
        assert {name for name in names if not name.startswith("iteration=")} <= {"last.ckpt"}
        assert len(names) <= 3


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("desk") / "of runs")


# ---------------------------------------------------------------------- single lives


def test_a_copy_that_is_resumed_and_extended_has_one_last_checkpoint(desk):
    copy = desk.new_path()
    shutil.copytree(desk.whole(6), copy)
    process = desk.resume(copy, "phase.pretrain.iterations=10")
    process.kill_at(copy, 8)  # the data go on where they were
    status, said = desk.resume(copy, "checkpoint_every=3").end()
    assert status == 0, said
    assert "0/10 [00:00<-" not in said
    assert "-v1" not in " ".join(contents(copy))
    desk.check_files(copy)
    desk.check_end(copy, 10)


def test_a_run_killed_between_its_last_checkpoint_and_its_result_ends_well(desk):
    run_dir = desk.new_path()
    shutil.copytree(desk.whole(6), run_dir)
    for name in ("generator.safetensors", "srresnet.safetensors"):
        (run_dir / name).unlink()
    status, said = desk.resume(run_dir).end()
    assert status == 0, said
    desk.check_end(run_dir, 6)


@pytest.mark.parametrize("sound", [False, True], ids=["from the beginning", "from a checkpoint"])
def test_after_a_divergence_the_advised_command_helps(desk, sound):
    run_dir = desk.new_path()
    if sound:
        desk.begin(run_dir, 20).kill_at(run_dir, 3)
        process = desk.resume(run_dir, "phase.pretrain.learning_rate=1e3")
    else:
        process = desk.begin(run_dir, 20, "phase.pretrain.learning_rate=1e3")
    status, said = process.end()
    assert status == 1, said
    last = said.splitlines()[-1]
    assert "had no finite gradient" in last
    assert ("before that" in last) == sound
    assert "best.safetensors" in last
    arguments = shlex.split(last.partition("python -m srgan_lit.train ")[2])
    status, said = Command(desk.folder / "said", *arguments).end()
    assert status == 0, said
    assert curve(run_dir) == list(range(1, 21))
    assert OmegaConf.load(run_dir / "config.yaml").phase.pretrain.learning_rate == 1e-4


# ---------------------------------------------------------------------- any life


class Lives(RuleBasedStateMachine):
    """Run directories and what is done to them, in any order."""

    desk: Desk
    lives: dict[Path, int]  # run directory: its length

    @initialize(length=st.sampled_from(LENGTHS), step=st.integers(0, 6))
    def begin(self, length, step):
        self.desk = Lives.shared
        run_dir = self.desk.new_path()
        self.lives = {run_dir: length}
        self.desk.begin(run_dir, length).kill_at(run_dir, step)
        if not (run_dir / "config.yaml").exists():  # killed before it was anything
            shutil.rmtree(run_dir, ignore_errors=True)
            assert self.desk.begin(run_dir, length).end()[0] == 0

    def any_run(self, at):
        return list(self.lives)[at % len(self.lives)]

    @rule(at=st.integers(0, 9), step=st.one_of(st.none(), st.integers(1, 10)))
    def resume(self, at, step):
        self.go_on(self.any_run(at), step)

    def go_on(self, run_dir, step, *also):
        before = checkpoints.find(run_dir).iteration
        process = self.desk.resume(run_dir, *also)
        if step is not None:
            process.kill_at(run_dir, step)
            assert checkpoints.find(run_dir).iteration >= before, "nothing that was saved is lost"
            return
        status, said = process.end()
        assert status == 0, said
        self.desk.check_end(run_dir, self.lives[run_dir])

    @rule(at=st.integers(0, 9), length=st.sampled_from(LENGTHS), step=st.one_of(st.none(), st.integers(4, 10)))
    def change_length(self, at, length, step):
        run_dir = self.any_run(at)
        before = contents(run_dir)
        if length < checkpoints.find(run_dir).iteration:
            status, said = self.desk.resume(run_dir, f"phase.pretrain.iterations={length}").end()
            assert status == 2, said
            assert contents(run_dir) == before
            return
        if step is None:
            self.lives[run_dir] = length
        self.go_on(run_dir, step, f"phase.pretrain.iterations={length}")
        self.lives[run_dir] = OmegaConf.load(run_dir / "config.yaml").phase.pretrain.iterations

    @rule(at=st.integers(0, 9), change=st.sampled_from(["seed=1", "model.blocks=2", "data.crop=20", "log_every=0"]))
    def ask_for_another_run(self, at, change):
        run_dir = self.any_run(at)
        before = contents(run_dir)
        status, said = self.desk.resume(run_dir, change).end()
        assert status == 2, said
        assert contents(run_dir) == before

    @precondition(lambda self: len(self.lives) < 3)
    @rule(at=st.integers(0, 9))
    def copy(self, at):
        run_dir, other = self.any_run(at), self.desk.new_path()
        shutil.copytree(run_dir, other)
        self.lives[other] = self.lives[run_dir]

    @rule(at=st.integers(0, 9))
    def move(self, at):
        run_dir, other = self.any_run(at), self.desk.new_path()
        run_dir.rename(other)
        self.lives[other] = self.lives.pop(run_dir)

    @rule(at=st.integers(0, 9))
    def resume_twice_at_once(self, at):
        run_dir = self.any_run(at)
        first = self.desk.resume(run_dir)
        first.stop_when_it_trains(run_dir)
        if is_occupied(run_dir):  # else it has ended before the signal came
            status, said = self.desk.resume(run_dir, said="said by the second").end()
            assert status == 2, said
            assert "another process trains there now" in said
        with contextlib.suppress(ProcessLookupError):
            os.kill(first.process.pid, signal.SIGCONT)
        status, said = first.end()
        assert status == 0, said
        self.desk.check_end(run_dir, self.lives[run_dir])

    @invariant()
    def files_are_in_order(self):
        for run_dir in getattr(self, "lives", {}):
            self.desk.check_files(run_dir)
            steps = curve(run_dir)
            assert steps == sorted(set(steps)), "no iteration twice"


def live(desk, examples, steps):
    Lives.shared = desk
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None)
    case = type("Case", (Lives,), {}).TestCase
    case.settings = settings(chosen, derandomize=True)
    case("runTest").runTest()


def test_a_few_lives(desk):
    live(desk, 1, 6)


@pytest.mark.slow
@pytest.mark.parametrize(("times", "steps"), [(25, 12)])
def test_many_lives(desk, times, steps):
    live(desk, times, steps)


# ---------------------------------------------------------------------- hundreds of rounds

LEGAL = [
    "validate_every=3", "checkpoint_every=1", "checkpoint_every=5", "log_every=1", "data.workers=0",
    "optimization.clip_gradients=1e9", "objective=psnr",
]  # fmt: skip
ILLEGAL = [
    "seed=3", "model.blocks=2", "model.features=8", "data.crop=12", "data.batch_size=2", "phase.pretrain.loss=mse",
    "phase.pretrain.iterations=1", "phase.pretrain.warmup=2", "phase=full", "model=srresnet5", "data=sample",
    "experiment=srgan", "init_from=srresnet", "optimization.ema=0.9", "dry_run=true", "data.augment=false",
    "checkpoint_every=0", "chekpoint_every=2", "perceptual.layer=2_2", "trainer.num_nodes=2", "run_dir=elsewhere",
    "data.root=nowhere", "data.skip_bad=true", "phase.pretrain.learning_rate=-1", "phase.pretrain=null", "a=b=[",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("times", [ROUNDS])
def test_kills_overrides_and_moves_in_many_rounds(tmp_path, times):
    """``SRGAN_LIT_ROUNDS`` of them; each is a resume. Counts are printed (pytest -s)."""
    chance, desk = random.Random(0), Desk(tmp_path / "desk")
    run_dir, length, count = None, 0, dict.fromkeys(["killed", "refused", "ended", "moved", "pictures moved"], 0)
    for _ in range(times):
        if run_dir is None:
            run_dir, length = desk.new_path(), chance.choice(LENGTHS)
            desk.begin(run_dir, length).kill_at(run_dir, chance.randrange(2, 6))
        if chance.random() < 0.3:
            count["moved"] += 1
            other = desk.new_path()
            run_dir.rename(other) if chance.random() < 0.5 else shutil.copytree(run_dir, other)
            run_dir = other
        also = chance.sample(LEGAL, chance.randrange(3))
        if chance.random() < 0.2:
            count["pictures moved"] += 1
            moved = desk.folder / f"photos {chance.random()}"
            desk.photos.rename(moved)
            desk.photos = moved
        also.append(quoting.override("data.root", desk.photos))
        kind = chance.random()
        if kind < 0.35:
            wrong = chance.choice(ILLEGAL)
            also.insert(chance.randrange(len(also) + 1), wrong)
            before, saved = contents(run_dir), checkpoints.find(run_dir).iteration
            if wrong == "phase.pretrain.iterations=1" and saved <= 1:
                continue
            if wrong == "data.root=nowhere":
                also.remove(quoting.override("data.root", desk.photos))
            status, said = desk.resume(run_dir, *also).end()
            assert status == 2, (also, said)
            assert "Traceback" not in said
            assert contents(run_dir) == before, also
            count["refused"] += 1
        elif kind < 0.75:
            process = desk.resume(run_dir, *also)
            if chance.random() < 0.5:
                process.kill_at(run_dir, chance.randrange(1, length + 1))
            else:  # at any moment
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.process.wait(chance.uniform(0, 3))
                process.process.kill()
                process.process.wait()
            count["killed"] += 1
        else:
            status, said = desk.resume(run_dir, *also).end()
            assert status == 0, (also, said)
            desk.check_files(run_dir)
            assert curve(run_dir) == list(range(1, length + 1))
            assert tensors_equal(run_dir / "generator.safetensors", desk.whole(length) / "generator.safetensors"), also
            count["ended"] += 1
            run_dir = None
    print(count)
    assert sum(count[name] for name in ("killed", "refused", "ended")) > 0.9 * times
