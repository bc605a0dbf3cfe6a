"""kill -9 at any moment: what was whole stays whole, nothing half has a final name, and the next try succeeds."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers import warm_python
from helpers.noise_photos import photos
from helpers.tiny_runs import TINY, assert_same_run
from srgan_lit import Generator, save_generator
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import packed_cache, sets
from srgan_lit.pictures import bicubic, rgb8
from srgan_lit.training import checkpoints

TEMPORARY = re.compile(r"\..*\.part(\..*)?|pixels\..*\.part")
# Seed and kills: a few by default, many in make test-slow.
ROUNDS = [(0, 2), *(pytest.param(seed, 5, marks=pytest.mark.slow) for seed in range(1, 5))]


def run(command: list[object], **options: object) -> subprocess.CompletedProcess[str]:
    return warm_python.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **options)


def kill_somewhere(command: list[object], folders: list[Path], chance: random.Random, longest: float) -> bool:
    """Start and SIGKILL: at any moment, or right when a file is being written. False: it was done."""
    process = warm_python.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + chance.uniform(0, longest)
    while_writing = chance.random() < 0.5
    before = temporaries(folders)
    while process.poll() is None:
        if while_writing and temporaries(folders) - before:
            time.sleep(chance.uniform(0, 0.02))
            break
        if not while_writing and time.monotonic() > end:
            break
        time.sleep(0.001)
    finished = process.poll() is not None
    process.kill()
    process.wait()
    return not finished


def temporaries(folders: list[Path]) -> set[Path]:
    found = set()
    for folder in folders:
        for here, _, names in os.walk(folder):
            found |= {Path(here, name) for name in names if TEMPORARY.fullmatch(name)}
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not TEMPORARY.fullmatch(path.name)
    }


@pytest.mark.parametrize(("seed", "wanted"), ROUNDS)
def test_upscale(seed, wanted, tmp_path):
    chance = random.Random(f"upscale {seed}")
    torch.manual_seed(0)
    save_generator(tmp_path / "g.safetensors", Generator(blocks=2, features=16))
    photos(tmp_path / "in", 6, (160, 160))
    command = [sys.executable, "-m", "srgan_lit.upscale", tmp_path / "in", "--model", tmp_path / "g.safetensors"]
    command += ["--tile", "32", "-o"]
    started = time.monotonic()
    assert run([*command, tmp_path / "whole"]).returncode == 0
    longest = time.monotonic() - started
    whole, out = contents(tmp_path / "whole"), tmp_path / "out"
    assert len(whole) == 6
    kills = 0
    while kills < wanted:
        kills += kill_somewhere([*command, out, "--skip-existing"], [out], chance, longest)
        done = contents(out) if out.exists() else {}
        assert all(whole[name] == content for name, content in done.items()), "nothing half has a final name"
        assert len(temporaries([out])) <= 1, "what an earlier kill left is gone when its picture is begun again"
        if len(done) == 6 and kills < wanted:
            shutil.rmtree(out)
    finished = run([*command, out, "--skip-existing"])
    assert finished.returncode == 0, finished.stderr
    assert contents(out) == whole
    assert not temporaries([out])


@pytest.mark.parametrize(("seed", "wanted"), ROUNDS)
def test_prepare(seed, wanted, tmp_path):
    chance = random.Random(f"prepare {seed}")
    photos(tmp_path / "made" / "input", 60, (160, 160), "H_0_759{}@N07_31_0.png")
    photos(tmp_path / "made" / "ref", 60, (160, 160), "H_0_759{}@N07_31_0.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "made").rglob("*.png")):
            archive.write(path, f"CUFED/{path.relative_to(tmp_path / 'made')}")
    whole = contents(tmp_path / "made")
    data, cache = tmp_path / "data", tmp_path / "cache"
    command = [sys.executable, "-m", "srgan_lit.prepare", "cufed", "--archive", tmp_path / "set.zip"]
    command += ["--to", data / "CUFED", "--cache", cache]
    started = time.monotonic()
    assert "60 of CUFED's 11871 pictures" in run(command).stderr
    longest = time.monotonic() - started
    kills = 0
    while kills < wanted:
        if chance.random() < 0.5:  # else on top of what the last kill left
            shutil.rmtree(cache, ignore_errors=True)
            shutil.rmtree(chance.choice([data, cache]), ignore_errors=True)
        kills += kill_somewhere(command, [cache, data], chance, longest)
        if (data / "CUFED").exists():
            assert contents(data / "CUFED") == whole, "the set is there whole or not at all"
        for index in cache.rglob("index.json"):
            assert len(packed_cache.Packed(index.parent, packed_cache._read_index(index.parent))) == 60
        assert len(temporaries([cache, data])) <= 1
    assert "60 of CUFED's 11871 pictures" in run(command).stderr
    assert contents(data / "CUFED") == whole
    assert sorted(path.name for path in data.iterdir()) == [".CUFED.lock", "CUFED"]
    assert not temporaries([cache, data])
    found = sets.training_sources(DataConfig(name="cufed", root=str(data / "CUFED")))
    opened = packed_cache.open_packed(found, scale=4, label=next(cache.iterdir()).name.removesuffix("-x4"), cache=cache)
    picture = rgb8.read_picture(found[7].path).pixels
    assert np.array_equal(opened.hr(7), picture)
    assert np.array_equal(opened.lr(7), bicubic.shrink(picture, 4))


# Without VGG, whose validation would take most of the time.
LONG = [
    "phase.pretrain.iterations=30", "phase.adversarial.iterations=30", "validate_every=15",
    "phase.weights.perceptual=0", "phase.weights.mse=1",
]  # fmt: skip


def training(run_dir: Path) -> list[object]:
    """What a user types after a kill: resume where there is a run, else the same command again."""
    begin = [sys.executable, "-m", "srgan_lit.train"]
    if (run_dir / "config.yaml").exists():
        return [*begin, f"resume={run_dir}"]
    return [*begin, *TINY, *LONG, f"run_dir={run_dir}"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    started = time.monotonic()
    finished = run(training(run_dir))
    assert finished.returncode == 0, finished.stderr
    return run_dir, time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "wanted"), [(seed, 5) for seed in range(5)])
def test_train(seed, wanted, tmp_path, uninterrupted):
    whole, longest = uninterrupted
    chance, run_dir, kills = random.Random(f"train {seed}"), tmp_path / "run", 0
    while kills < wanted:
        before = checkpoints.find(run_dir).iteration if run_dir.exists() else 0
        killed = kill_somewhere(training(run_dir), [run_dir], chance, longest)
        kills += killed
        if not killed:  # it was done before its time had come: another one
            assert_same_run(run_dir, whole)
            shutil.rmtree(run_dir)
            continue
        for path in (*run_dir.rglob("*.safetensors"), *run_dir.rglob("*.ckpt")):
            if not TEMPORARY.fullmatch(path.name):
                load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        assert len(temporaries([run_dir])) <= 1
        if run_dir.exists():
            assert checkpoints.find(run_dir).iteration >= before, "no iteration that was saved is lost"
            assert not temporaries([run_dir])
    finished = run(training(run_dir))
    assert finished.returncode == 0, finished.stderr
    assert_same_run(run_dir, whole)
