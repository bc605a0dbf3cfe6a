"""What earlier versions wrote can be gone on with: run directories, checkpoints, names and keys."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from helpers import tiny_runs
from srgan_lit import load_generator

HERE = Path(__file__).parent
STOPPED = HERE / "run_of_0_1"  # killed after 4 of 6 iterations, by version 0.1.0 with its modules in one folder


def shapes(value):
    """Names, types and shapes, without the values."""
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), list(value.shape)]
    if isinstance(value, dict):
        return {str(key): shapes(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shapes(each) for each in value]
    return type(value).__name__


def test_a_run_of_an_earlier_version_is_resumed_to_the_same_weights(tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(STOPPED, run_dir)
    tiny_runs.resume(run_dir)
    # The whole run of that version gave these; float32 sums differ by machine.
    assert tiny_runs.tensors_close(run_dir / "generator.safetensors", STOPPED / "uninterrupted.safetensors", 1e-5)
    assert [row["step"] for row in tiny_runs.rows(run_dir) if row["train/l1"]] == list("123456")


def test_a_generator_file_and_a_checkpoint_of_an_earlier_version_load():
    tensors = load_generator(STOPPED / "uninterrupted.safetensors").state_dict()
    assert tensors.keys() == load_file(STOPPED / "uninterrupted.safetensors").keys()
    checkpoint = load_generator(STOPPED / "checkpoints" / "last.ckpt").state_dict()
    assert {name: value.shape for name, value in checkpoint.items()} == {
        name: value.shape for name, value in tensors.items()
    }


def test_a_checkpoint_has_what_one_of_an_earlier_version_had(whole):
    """Names, shapes and callback keys of both phases: what was there still is, so old checkpoints go on loading."""
    written = shapes(torch.load(whole[0] / "checkpoints" / "last.ckpt", weights_only=True))
    before = json.loads((HERE / "checkpoint_of_0_1.json").read_text())
    for part in ("state_dict", "callbacks", "optimizer_states", "lr_schedulers", "SRDataModule"):
        now, then = written[part], before[part]
        if part == "state_dict":
            assert now == then
        elif isinstance(then, dict):
            assert set(then) <= set(now), part
        else:
            assert len(now) == len(then), part
