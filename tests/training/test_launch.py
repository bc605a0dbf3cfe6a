"""Several processes: the plain command, torchrun and multirun, and what happens when one of them dies."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import warm_python
from helpers.patience import HANGS_SECONDS
from helpers.tiny_runs import (
    BOTH,
    command,
    resume,
    rows,
    run,
    start,
    tensors_close,
    tensors_equal,
    train,
    wait_for,
)

PRETRAIN = ["phase=pretrain", "phase.pretrain.iterations=2", "phase.pretrain.warmup=0"]
TWO = ["trainer=ddp", "trainer.accelerator=cpu"]


def frozen(start_from):
    """Without BatchNorm statistics, a batch is the same whoever shares it."""
    return [f"init_from={start_from}", "optimization.batchnorm=frozen", *BOTH]


def test_two_processes_train_both_phases_and_one_writes(whole, tmp_path):
    run_dir = tmp_path / "run"
    result = train(run_dir, *BOTH, *TWO, "data.batch_size=1")
    steps = [int(row["step"]) for row in rows(run_dir) if row["learning_rate/generator"]]
    assert steps == list(range(1, 13)), "each iteration once"
    assert result.stdout.count("The generator is") == 1
    validated = [row for row in rows(run_dir) if row["val/psnr_bicubic"]]
    alone = [row for row in rows(whole[0]) if row["val/psnr_bicubic"]]
    assert len(validated) == len(alone) == 2
    for ours, theirs in zip(validated, alone, strict=True):  # the mean over all pictures, whoever scored them
        assert float(ours["val/psnr_bicubic"]) == pytest.approx(float(theirs["val/psnr_bicubic"]), abs=1e-4)
    assert not tensors_equal(run_dir / "srresnet.safetensors", run_dir / "generator.safetensors")


def test_under_torchrun_the_same_batch_gives_the_same_training(whole, tmp_path):
    settings = frozen(whole[0] / "generator.safetensors")
    train(tmp_path / "alone", *settings, "data.batch_size=4")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = command(tmp_path / "two", *settings, *TWO, "data.batch_size=2", "optimization.accumulate=2")[1:]
    result = run([*launcher, *arguments])
    assert result.returncode == 0, result.stderr
    for name in ("srresnet.safetensors", "generator.safetensors"):
        assert tensors_close(tmp_path / "two" / name, tmp_path / "alone" / name, 1e-5), name
        assert not tensors_close(tmp_path / "two" / name, whole[0] / "generator.safetensors", 1e-5), "it learnt"


def test_under_torchrun_what_cannot_work_is_refused(tmp_path):
    launched = {
        "TORCHELASTIC_RUN_ID": "none",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
    }
    without = [argument for argument in command(tmp_path) if not argument.startswith("run_dir=")]
    for arguments, reason in (
        ([*without, *TWO], "set run_dir=<folder>"),
        (command(tmp_path / "run"), "set trainer.devices=2 trainer.num_nodes=1"),
        (command(tmp_path / "run", "-m", "seed=1,2"), "call it without torchrun"),
    ):
        result = warm_python.run(
            arguments, capture_output=True, text=True, timeout=120, env=os.environ | launched, cwd=tmp_path
        )
        assert result.returncode == 2, result.stderr
        assert reason in result.stderr.splitlines()[-1]


def test_a_multirun_gives_each_job_its_processes(whole, tmp_path):
    run_dir = tmp_path / "multirun"
    result = train(run_dir, "-m", "seed=0,1", *TWO, *PRETRAIN, "data.batch_size=1")
    assert result.stdout.count("The generator is") == 2
    for job in ("0", "1"):
        assert [int(row["step"]) for row in rows(run_dir / job) if row["learning_rate/generator"]] == [1, 2]
    assert not tensors_equal(run_dir / "0" / "generator.safetensors", run_dir / "1" / "generator.safetensors")


def test_when_one_process_dies_the_other_ends(tmp_path):
    run_dir = tmp_path / "run"
    process = start(command(run_dir, *BOTH, *TWO, "phase.pretrain.iterations=100000", "validate_every=100000"))
    wait_for(process, run_dir, 3)
    children = subprocess.run(["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True).stdout
    os.kill(int(children.split()[0]), signal.SIGKILL)
    _, stderr = process.communicate(timeout=HANGS_SECONDS)  # without end it would wait for ever
    assert process.returncode == 1
    assert "another process of this training ended" in stderr.splitlines()[-1]
    assert f"resume={run_dir}" in stderr.splitlines()[-1]


def test_where_the_loss_of_one_process_explodes_all_leave_the_checkpoint_out(tmp_path):
    program = Path(__file__).parents[1] / "helpers" / "one_diverges.py"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = run([*launcher, str(program), str(tmp_path)])  # in which one would wait for the other for ever
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == ["process 0: lost True", "process 1: lost True"]
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 10, "of twelve iterations: the last sound one"


def contents(run_dir):
    """Every file but the log and the lock, which every command opens."""
    return {
        path.relative_to(run_dir).as_posix(): path.read_bytes()
        for path in run_dir.rglob("*")
        if path.is_file() and path.name not in ("train.log", ".lock")
    }


@pytest.mark.slow
def test_two_processes_are_alone_in_their_run_and_go_on_after_a_kill_and_before_their_result(tmp_path):
    """The plain command and torchrun are refused while two processes train; then these are killed, and resumed."""
    run_dir = tmp_path / "run"
    process = start(command(run_dir, *BOTH, *TWO, "data.batch_size=1"))
    wait_for(process, run_dir, 7)
    process.send_signal(signal.SIGSTOP)  # the first; the other waits for it
    before = contents(run_dir)
    plain = [sys.executable, "-m", "srgan_lit.train", f"resume={run_dir}"]
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *plain[1:]]
    for second, status in ((plain, 2), (launched, 1)):  # torchrun has a status of its own
        result = run(second)
        assert result.returncode == status, result.stderr
        assert f"{run_dir}: another process trains there now" in result.stderr
        assert contents(run_dir) == before
    process.kill()
    process.communicate(timeout=HANGS_SECONDS)  # when the other has ended too: it has the same stderr
    resume(run_dir)
    assert [int(row["step"]) for row in rows(run_dir) if row["learning_rate/generator"]] == list(range(1, 13))
    unfinished = shutil.copytree(run_dir, tmp_path / "killed before its result")
    shutil.rmtree(unfinished / "report")
    (unfinished / "generator.safetensors").unlink()
    resume(unfinished)
    assert (unfinished / "report" / "results.json").is_file()
    for name in ("srresnet.safetensors", "generator.safetensors", "best.safetensors"):
        assert tensors_equal(unfinished / name, run_dir / name), name


def machines(*arguments):
    """A torchrun for each of two machines, both of which are this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-id=test"]
    torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1"]
    return [start([*torchrun, *map(str, arguments)], OMP_NUM_THREADS="1") for _ in range(2)]


@pytest.mark.slow
def test_two_machines_train_stop_and_go_on(tmp_path):
    run_dir = tmp_path / "run"
    nodes = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2"]
    settings = [*BOTH, "phase.adversarial.iterations=60", *nodes, "data.batch_size=1"]
    one, other = machines(*command(run_dir, *settings)[1:])
    wait_for(one, run_dir, 8)
    other.terminate()  # one machine is told to stop; torchrun passes it on to its process
    said = [process.communicate(timeout=HANGS_SECONDS)[1] for process in (one, other)]
    assert 0 not in (one.returncode, other.returncode), said
    assert any(f"go on with: python -m srgan_lit.train resume={run_dir}" in each for each in said), said
    stopped = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert 8 <= stopped < 66
    ended = machines("-m", "srgan_lit.train", f"resume={run_dir}")
    said = [process.communicate(timeout=HANGS_SECONDS) for process in ended]
    assert [process.returncode for process in ended] == [0, 0], said
    assert "".join(stdout for stdout, _ in said).count("The generator is") == 1, "the first process alone reports"
    assert [int(row["step"]) for row in rows(run_dir) if row["learning_rate/generator"]] == list(range(1, 67))
