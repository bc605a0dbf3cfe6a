"""Two processes with a GPU each, which exchange over NCCL."""

import signal

import pytest
import torch

from helpers.tiny_runs import BOTH, command, resume, rows, signal_at, start, train

pytestmark = pytest.mark.gpu


@pytest.fixture
def two(accelerator):
    if accelerator == "gpu" and torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    return ["trainer=ddp", f"trainer.accelerator={accelerator}", "data.batch_size=1", *BOTH]


def test_two_processes_train_both_phases(tmp_path, two, accelerator):
    also = ["optimization.ema=0.9", "data.batch_size=2", "optimization.accumulate=2"]
    also += ["trainer.sync_batchnorm=true", "trainer.precision=16-mixed"] if accelerator == "gpu" else []
    result = train(tmp_path / "run", *two, *also)
    assert [int(row["step"]) for row in rows(tmp_path / "run") if row["learning_rate/generator"]] == list(range(1, 13))
    assert result.stdout.count("The generator is") == 1


def test_two_processes_stop_together_and_go_on(tmp_path, two):
    run_dir = tmp_path / "run"
    process = start(command(run_dir, *two, "phase.adversarial.iterations=60"))
    _, stderr = signal_at(process, run_dir, 3, signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert f"resume={run_dir}" in stderr.splitlines()[-1]
    assert torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] < 66
    resume(run_dir, "phase.adversarial.iterations=60")
    assert [int(row["step"]) for row in rows(run_dir) if row["learning_rate/generator"]] == list(range(1, 67))
