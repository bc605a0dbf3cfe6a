"""Trainings that are killed, stopped or requeued: what goes on afterwards is the uninterrupted run, bit for bit."""

import signal

import pytest

from helpers.tiny_runs import BOTH, assert_same_run, command, resume, run, signal_at, start

EMA = ["optimization.ema=0.9", "optimization.clip_gradients=1.0"]


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """An uninterrupted run with a moving average."""
    run_dir = tmp_path_factory.mktemp("runs") / "averaged"
    result = run(command(run_dir, *BOTH, *EMA))
    assert result.returncode == 0, result.stderr
    return run_dir


@pytest.mark.parametrize("step", [3, 9], ids=["pretrain", "adversarial"])
def test_a_killed_run_resumes_bit_for_bit(averaged, tmp_path, step):
    run_dir = tmp_path / "run"
    signal_at(start(command(run_dir, *BOTH, *EMA)), run_dir, step, signal.SIGKILL)
    assert not (run_dir / "generator.safetensors").exists()
    result = resume(run_dir)
    assert_same_run(run_dir, averaged)
    assert "12/12 [" in result.stdout + result.stderr, "the bar goes on, and knows the end"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stopped_run_is_saved_and_says_how_to_go_on(whole, tmp_path, signum):
    run_dir = tmp_path / "run"
    process = start(command(run_dir, *BOTH, "checkpoint_every=1000"))
    _, stderr = signal_at(process, run_dir, 3, signum)
    assert process.returncode == 128 + signum
    last = stderr.splitlines()[-1]
    assert f"stopped by {signal.Signals(signum).name} after iteration" in last
    assert f"go on with: python -m srgan_lit.train resume={run_dir}" in last
    assert "Traceback" not in stderr
    # The damaged newest one is passed over, even though nothing else than its size tells.
    whole_one = run_dir / "checkpoints" / "last.ckpt"
    (run_dir / "checkpoints" / "newer.ckpt").write_bytes(whole_one.read_bytes()[: whole_one.stat().st_size // 2])
    result = resume(run_dir, "checkpoint_every=4")
    assert "checkpoint_every is 4 now; it was 1000" in result.stdout
    assert_same_run(run_dir, whole[0])


def test_a_sigterm_to_the_whole_group_leaves_the_workers_to_the_training(tmp_path):
    """As SLURM, containers and ``timeout`` send it."""
    run_dir = tmp_path / "run"
    process = start(command(run_dir, *BOTH, "checkpoint_every=1000", "data.workers=2"), own_group=True)
    _, stderr = signal_at(process, run_dir, 3, signal.SIGTERM, whole_group=True)
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert "stopped by SIGTERM after iteration" in stderr.splitlines()[-1]
    assert (run_dir / "checkpoints" / "last.ckpt").is_file()


def test_a_job_of_slurm_is_requeued_and_goes_on(whole, tmp_path):
    run_dir, asked = tmp_path / "run", tmp_path / "asked"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {asked}\n')
    scontrol.chmod(0o755)
    slurm = {
        "PATH": f"{scontrol.parent}:/usr/bin:/bin", "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "srgan",
        "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
        "SLURM_NODELIST": "localhost",
    }  # fmt: skip
    process = start(command(run_dir, *BOTH), **slurm)
    _, stderr = signal_at(process, run_dir, 8, signal.SIGUSR1)
    assert process.returncode == 128 + signal.SIGUSR1
    assert asked.read_text() == "requeue 4711\n"
    assert "queued again" in stderr.splitlines()[-1]
    assert not (run_dir / "generator.safetensors").exists()
    result = run(command(run_dir, *BOTH), **slurm, SLURM_RESTART_COUNT="1")  # SLURM runs the same command again
    assert result.returncode == 0, result.stderr
    assert_same_run(run_dir, whole[0])
