"""Full and read-only disks, files that vanish or are cut, killed workers, two runs at once, clocks set back."""

import contextlib
import csv
import errno
import json
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from helpers import warm_python
from helpers.noise_photos import photos
from helpers.patience import HANGS_SECONDS
from helpers.tiny_runs import BOTH, PRETRAIN, assert_same_run, command, run, start, wait_for
from srgan_lit import Generator, save_generator, train, upscale
from srgan_lit.common import atomic_files, machine_errors
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config import composition
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import packed_cache, sets
from srgan_lit.data.samples import CropBatches
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.training import checkpoints, run_directory
from srgan_lit.training.run_files import ContinuedCSVLogger, WholeCheckpointIO


@pytest.fixture
def disk(tmp_path):
    """A disk of one megabyte; ``disk(**options)`` mounts it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options: str) -> None:
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")

    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    folder_and_remount = folder, lambda options: mount("-o", f"remount,{options}")
    yield folder_and_remount
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# ---------------------------------------------------------------------- full and read-only disks


@pytest.mark.parametrize(("suffix", "room"), [("png", 120), ("jpg", 120), ("webp", 40), ("tif", 120), ("avif", 24)])
def test_pictures_that_fit_are_whole_and_the_others_come_when_there_is_room(disk, suffix, room, tmp_path, capsys):
    folder, remount = disk
    (folder / "ballast").write_bytes(bytes(2**20 - room * 1024))
    arguments = [str(photos(tmp_path / "in", 4)), "-o", str(folder / "out"), "--model", "bicubic", "--format", suffix]
    assert upscale.main(arguments) == 1
    errors = capsys.readouterr().err.splitlines()
    done = names(folder / "out")
    assert len(errors) == 4 - len(done) >= 1
    for line in errors:
        assert line.startswith(str(tmp_path / "in"))
    if suffix in ("png", "tif"):
        assert f"{folder / 'out'}" in errors[0]
        assert "No space left on device (make room there" in errors[0]
    for name in done:
        with Image.open(folder / "out" / name) as result:
            result.load()
    remount("size=10m")
    assert upscale.main([*arguments, "--skip-existing"]) == 0
    assert names(folder / "out") == [f"{number}.{suffix}" for number in range(4)]


def test_a_cache_that_does_not_fit_leaves_the_old_one(disk, tmp_path, monkeypatch):
    folder, remount = disk

    def opened(count):
        shutil.rmtree(tmp_path / "in", ignore_errors=True)
        found = sets.training_sources(DataConfig(name="folder", root=str(photos(tmp_path / "in", count))))
        return packed_cache.open_packed(found, scale=4, label="set", cache=folder)

    old = np.array(opened(4).hr(3))
    before = names(folder)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 0, 2**40)
    )  # said free, and is not
    with pytest.raises(SRGANError, match=r"needs .* GB .*data\.cache="):
        opened(200)
    assert names(folder) == before
    assert np.array_equal(opened(4).hr(3), old)
    remount("size=10m")
    assert len(opened(200)) == 200


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(disk):
    folder, _ = disk
    writer = WholeCheckpointIO()
    writer.save_checkpoint({"global_step": 1}, folder / "checkpoints" / "last.ckpt")
    with pytest.raises(OSError, match="No space left") as raised:
        writer.save_checkpoint({"global_step": 2, "x": torch.rand(10**6)}, folder / "checkpoints" / "last.ckpt")
    assert str(machine_errors.explain(raised.value)).startswith(
        f"{folder}/checkpoints/last.ckpt: No space left on device ("
    )
    with pytest.raises(OSError, match="No space left") as raised:
        save_generator(folder / "g.safetensors", Generator(blocks=2, features=64))
    assert raised.value.filename == str(folder / "g.safetensors")
    assert checkpoints.find(folder).newest == folder / "checkpoints" / "last.ckpt"
    assert names(folder) == ["checkpoints/last.ckpt"]


def test_a_limit_of_the_system_for_one_file(tmp_path):
    photos(tmp_path / "in", 1)
    result = warm_python.run(
        [sys.executable, "-m", "srgan_lit.upscale", "in", "-o", "out", "--model", "bicubic"],
        cwd=tmp_path, capture_output=True, text=True, timeout=HANGS_SECONDS, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )  # fmt: skip
    assert result.returncode == 1
    assert (
        result.stderr
        == "in/0.png: out/0.png: File too large (the limit of this process for one file (ulimit -f); raise it)\n"
    )
    assert names(tmp_path / "out") == []


def test_a_read_only_disk_is_said_by_every_command(disk, tmp_path, capsys, monkeypatch):
    folder, remount = disk
    photos(tmp_path / "in", 2)
    save_generator(tmp_path / "g.safetensors", Generator(blocks=1, features=4))
    remount("ro")
    assert upscale.main([str(tmp_path / "in"), "-o", str(folder / "out"), "--model", "bicubic"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all(f"{folder}/out: Read-only file system (change its permissions" in line for line in errors)
    found = sets.training_sources(DataConfig(name="folder", root=str(tmp_path / "in")))
    with pytest.raises(SRGANError, match=r"cannot write the packed cache \(Read-only file system\).*data\.cache="):
        packed_cache.open_packed(found, scale=4, label="set", cache=folder)
    status, said = train_here(monkeypatch, capsys, "experiment=demo", f"run_dir={folder}/run")
    assert status == 1
    assert len(said) == 1
    assert f"{folder}/run: Read-only file system" in said[0]
    assert names(folder) == []


def train_here(monkeypatch, capsys, *arguments):
    """Exit status and stderr of the training command, in this process."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["srgan-train", *arguments])
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])  # Hydra adds its own
    environment = dict(os.environ)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert os.environ.get("HYDRA_FULL_ERROR") == environment.get("HYDRA_FULL_ERROR")
    return ended.value.code, capsys.readouterr().err.splitlines()


# ---------------------------------------------------------------------- what happens to a training, told

FAULTS = {
    "full": (OSError(errno.ENOSPC, "No space left on device", "last.ckpt"), "last.ckpt: No space left on device (make"),
    "failing": (OSError(errno.EIO, "Input/output error"), "Input/output error (the disk fails"),
    "killed": (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "data.workers"),
    "gone": (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "data.workers"),
    "memory": (MemoryError(), "out of memory"),
    "torch's": (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
    "no compiler": (RuntimeError("InvalidCxxCompiler: No working C++ compiler found in …"), "install one (g++)"),
    "a GPU's": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"), "out of memory"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_machine_does_to_a_training_is_one_line_with_how_to_go_on(name, tmp_path, capsys, monkeypatch):
    error, said = FAULTS[name]

    def fails(config):
        raise error

    monkeypatch.setattr("srgan_lit.training.run.train", fails)
    status, errors = train_here(monkeypatch, capsys, "experiment=demo", f"run_dir={tmp_path}/run")
    assert status == 1
    assert len(errors) == 1
    assert said in errors[0]
    assert errors[0].endswith(f"then go on with: python -m srgan_lit.train resume={tmp_path}/run")


def test_a_programming_error_keeps_its_traceback(tmp_path, capsys, monkeypatch):
    def fails(config):
        raise RuntimeError("a bug")

    monkeypatch.setattr("srgan_lit.training.run.train", fails)
    monkeypatch.setattr(sys, "argv", ["srgan-train", "experiment=demo", f"run_dir={tmp_path}/run"])
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])
    with pytest.raises(RuntimeError, match="a bug"):
        train.main()


class _Harmed(Dataset):
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> int:
        if self.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise SRGANError("pixels.bin: cut while it was being read")


@pytest.mark.parametrize(
    ("kind", "said"), [("killed", "data.workers"), ("cut", "pixels.bin: cut while it was being read")]
)
def test_what_happens_in_a_worker_process_is_one_line(kind, said):
    with pytest.raises((RuntimeError, SRGANError)) as raised:
        list(DataLoader(_Harmed(kind), num_workers=1))
    told = str(machine_errors.explain(raised.value))
    assert said in told
    assert "\n" not in told


# ---------------------------------------------------------------------- files that vanish or change underneath


def open_cache(tmp_path):
    found = sets.training_sources(DataConfig(name="folder", root=str(photos(tmp_path / "in", 4))))
    return packed_cache.open_packed(found, scale=4, label="set", cache=tmp_path / "cache")


def test_a_cache_that_is_cut_while_training_reads_it_is_an_error_and_no_bus_error(tmp_path):
    cache = open_cache(tmp_path)
    batches = CropBatches(cache, range(4), crop=16, augment=True, degradation="bicubic", seed=0)
    batches[[(0, 0), (1, 3)]]

    def read_when_cut() -> None:
        os.truncate(next((tmp_path / "cache").rglob("pixels.*")), 10)
        for read in (lambda: batches[[(0, 3)]], lambda: cache.pair(3)):
            with pytest.raises(SRGANError, match="cut while it was being read; the next start packs"):
                read()

    child = multiprocessing.get_context("fork").Process(target=read_when_cut)  # which a SIGBUS would end
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert np.array_equal(open_cache(tmp_path).hr(2), np.asarray(Image.open(tmp_path / "in" / "2.png")))


def test_pictures_and_caches_that_are_replaced_or_removed_do_not_change_a_running_training(tmp_path):
    cache = open_cache(tmp_path)
    batches = CropBatches(cache, range(4), crop=16, augment=True, degradation="bicubic", seed=0)
    before = batches[[(0, 0), (1, 3)]]
    Image.new("RGB", (48, 48), "red").save(tmp_path / "in" / "3.png")
    (tmp_path / "in" / "0.png").unlink()
    packed_cache.open_packed(  # by another run, which packs anew
        sets.training_sources(DataConfig(name="folder", root=str(tmp_path / "in"))),
        scale=4,
        label="set",
        cache=tmp_path / "cache",
    )
    shutil.rmtree(tmp_path / "cache")
    after = batches[[(0, 0), (1, 3)]]
    assert torch.equal(before["hr"], after["hr"])
    assert torch.equal(before["lr"], after["lr"])


def test_a_folder_that_vanishes_while_a_file_is_written_is_named(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileNotFoundError) as raised, atomic_files.replacing(tmp_path / "out" / "a.txt"):
        shutil.rmtree(tmp_path / "out")
    assert str(machine_errors.explain(raised.value)).startswith(
        f"{tmp_path}/out/a.txt: No such file or directory (it, or"
    )


def test_memory_that_runs_out_on_one_picture_costs_that_picture(tmp_path, monkeypatch, capsys):
    from srgan_lit.upscaling import engine

    photos(tmp_path / "in", 2)
    photos(tmp_path / "in", 1, size=(64, 64))
    whole = engine.Enlarger.window

    def window(self, pixels):
        if pixels.shape[0] > 48:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return whole(self, pixels)

    monkeypatch.setattr(engine.Enlarger, "window", window)
    arguments = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", "bicubic", "--tile", "0"]
    assert upscale.main(arguments) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "0.png: out of memory" in errors[0]
    assert "--tile" in errors[0]
    assert names(tmp_path / "out") == ["1.png"]


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_let_be(tmp_path):
    target = tmp_path / "large.v2.png"
    (tmp_path / ".large.v2.0123abcd.part.png").write_bytes(b"half")
    other = tmp_path / ".large.0123abcd.part.png"  # of large.png
    other.write_bytes(b"half")
    with atomic_files.replacing(target) as first:
        first.write_bytes(b"first")
        context = multiprocessing.get_context("fork")
        child = context.Process(target=atomic_files.write_text, args=(target, "second"))
        child.start()
        child.join(60)
        assert target.read_text() == "second"
        assert first.exists(), "its writer lives"
    assert target.read_bytes() == b"first"
    assert names(tmp_path) == sorted([other.name, target.name])
    atomic_files.sweep(tmp_path)
    assert names(tmp_path) == [target.name]


def test_a_kill_while_the_curve_is_rewritten_loses_none_of_it(tmp_path, monkeypatch):
    first = ContinuedCSVLogger(tmp_path, iteration=0)
    for step in range(1, 6):
        first.log_metrics({"loss": 1 / step}, step)
    first.save()
    before = (tmp_path / "metrics.csv").read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("srgan_lit.common.atomic_files.os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        ContinuedCSVLogger(tmp_path, iteration=5)  # as a resumed run begins
    with pytest.raises(KeyboardInterrupt):
        first.log_metrics({"psnr": 30.0}, 5)  # a new column
    assert (tmp_path / "metrics.csv").read_bytes() == before
    monkeypatch.undo()
    again = ContinuedCSVLogger(tmp_path, iteration=4)
    again.log_metrics({"psnr": 30.0}, 5)
    again.save()
    with (tmp_path / "metrics.csv").open(newline="") as opened:
        assert [(row["step"], row["psnr"]) for row in csv.DictReader(opened)] == [
            *((str(step), "") for step in range(1, 5)),
            ("5", "30.0"),
        ]


# ---------------------------------------------------------------------- two at once, and time


def test_of_many_runs_that_begin_in_one_directory_one_trains(tmp_path):
    config = composition.configuration(composed("experiment=demo", tmp_path / "run"))

    def claim(number: int) -> None:
        try:
            run_directory.claim(tmp_path / "run", config, [f"seed={number}"])
        except UsageError as error:
            os._exit(2 if "holds a run already; go on with resume=" in str(error) else 3)
        os._exit(0)

    context = multiprocessing.get_context("fork")
    claims = [context.Process(target=claim, args=(number,)) for number in range(8)]
    for each in claims:
        each.start()
    for each in claims:
        each.join(60)
    assert sorted(each.exitcode for each in claims) == [0] + [2] * 7
    winner = [each.exitcode for each in claims].index(0)
    assert list(OmegaConf.load(tmp_path / "run" / ".hydra" / "overrides.yaml")) == [f"seed={winner}"]
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").phase.name == "full"


def composed(override, run_dir):
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(composition.CONF), version_base="1.3"):
        cfg = compose("train", overrides=[override])
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    return cfg


def test_a_refused_run_changes_nothing_of_the_one_that_is_there(tmp_path, capsys, monkeypatch):
    run_dir = tmp_path / "run"
    run_directory.claim(run_dir, composition.configuration(composed("experiment=demo", run_dir)), ["experiment=demo"])
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    for arguments in (["seed=3"], ["data.crop=50"], [f"resume={run_dir}", "seed=4"]):
        given = [] if arguments[0].startswith("resume") else [f"run_dir={run_dir}"]
        status, errors = train_here(monkeypatch, capsys, "experiment=demo", *given, *arguments)
        assert status == 2
        assert len(errors) == 1
        after = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
        for name in ("train.log", ".lock"):  # where Hydra's log would go, and what was locked meanwhile: empty
            assert after.pop(run_dir / name, b"") == b""
        assert after == before


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: [", "phase: {", "\0"])
def test_a_configuration_that_was_damaged_is_said(content, tmp_path, capsys, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(content)
    status, errors = train_here(monkeypatch, capsys, f"resume={tmp_path}/run")
    assert status == 2
    assert len(errors) == 1
    assert "config.yaml: no configuration of a run" in errors[0]


def test_the_newest_checkpoint_is_that_of_most_iterations_whatever_the_clock_said(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for number, time in ((10, 2e9), (30, 1e9), (20, 3e9)):  # the clock was set back, and forward again
        torch.save({"global_step": number}, folder / f"iteration={number}.ckpt")
        os.utime(folder / f"iteration={number}.ckpt", (time, time))
    assert checkpoints.find(tmp_path).newest == folder / "iteration=30.ckpt"
    os.truncate(folder / "iteration=30.ckpt", 100)
    assert checkpoints.find(tmp_path).newest == folder / "iteration=20.ckpt"


def test_pictures_from_the_future_are_packed_once(tmp_path):
    photos(tmp_path / "in", 4)
    for path in (tmp_path / "in").iterdir():
        os.utime(path, (4e9, 4e9))
    open_cache_of = lambda: packed_cache.open_packed(  # noqa: E731
        sets.training_sources(DataConfig(name="folder", root=str(tmp_path / "in"))),
        scale=4,
        label="set",
        cache=tmp_path / "cache",
    )
    open_cache_of()
    before = names(tmp_path / "cache")
    open_cache_of()
    assert names(tmp_path / "cache") == before


def test_without_a_network_the_perceptual_loss_says_what_to_fetch(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(SRGANError, match=r"cannot be downloaded .*perceptual\.weights=<file>"):
        vgg_features()
    assert [name for name in names(tmp_path) if "partial" not in name] == []


# ---------------------------------------------------------------------- real trainings


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    assert run(command(run_dir, *BOTH)).returncode == 0
    return run_dir


def resumed(run_dir):
    return run([sys.executable, "-m", "srgan_lit.train", f"resume={run_dir}"])


@pytest.mark.slow
def test_a_training_on_a_full_disk_goes_on_bit_for_bit_when_there_is_room(disk, whole):
    folder, remount = disk
    result = run(command(folder / "run", *BOTH))
    assert result.returncode == 1
    assert "No space left on device" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert f"resume={folder}/run" in result.stderr
    assert not any(name.rpartition("/")[2].startswith(".") and ".part" in name for name in names(folder))
    remount("size=600m")  # a checkpoint takes 82 MB
    assert resumed(folder / "run").returncode == 0
    assert_same_run(folder / "run", whole)


@pytest.mark.slow
def test_a_run_directory_that_vanishes_is_said(tmp_path):
    process = start(command(tmp_path / "run", "phase.pretrain.iterations=2000", "phase=pretrain"))
    wait_for(process, tmp_path / "run", 5)
    while (tmp_path / "run").exists():  # the training writes into it meanwhile
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "No such file or directory (it, or its folder, was moved or removed)" in errors.splitlines()[-1]
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_killed_worker_and_a_second_try(tmp_path, whole):
    import psutil

    run_dir = tmp_path / "run"
    process = start(command(run_dir, *BOTH, "data.workers=1"))
    wait_for(process, run_dir, 3)
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):
            child.kill()
    _, errors = process.communicate(timeout=200)
    if process.returncode:  # it may have had all of its batches
        assert process.returncode == 1
        assert "data.workers" in errors.splitlines()[-1]
        assert "Traceback" not in errors
        assert resumed(run_dir).returncode == 0
    assert_same_run(run_dir, whole)


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, whole):
    run_dir = tmp_path / "run"
    process = start(command(run_dir, *BOTH))
    while not (run_dir / "config.yaml").exists():
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert json.dumps(OmegaConf.to_container(OmegaConf.load(run_dir / "config.yaml")))
    result = resumed(run_dir)
    assert result.returncode == 0, result.stderr
    assert "begins anew" in result.stdout
    assert_same_run(run_dir, whole)


@pytest.mark.slow
def test_compile_without_a_compiler_is_one_line(tmp_path):
    arguments = command(tmp_path / "run", *PRETRAIN, "phase=pretrain", "compile=true")
    result = run(arguments, CXX="no-such-compiler", TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"))
    assert result.returncode == 1
    assert "install one (g++), or leave it out" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
