"""Trainings as a user starts them, small enough for a test: real processes on the sample pictures."""

import csv
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file

from helpers import warm_python
from helpers.patience import HANGS_SECONDS, until

TINY = [
    "experiment=demo", "init_from=null", "model.blocks=1", "model.features=8", "data.crop=32", "data.batch_size=2",
    "validate_every=6", "checkpoint_every=2", "log_every=1",
]  # fmt: skip
PRETRAIN = ["phase.pretrain.iterations=6", "phase.pretrain.warmup=0"]
BOTH = [*PRETRAIN, "phase.adversarial.iterations=6"]


def command(run_dir, *arguments):
    return [sys.executable, "-m", "srgan_lit.train", *TINY, f"run_dir={run_dir}", *arguments]


def run(arguments, **environment):
    """The finished process, whatever its exit status."""
    environment = os.environ | {"WARM_CHILDREN": "1"} | environment
    return warm_python.run(arguments, capture_output=True, text=True, timeout=HANGS_SECONDS, env=environment)


def train(run_dir, *arguments):
    result = run(command(run_dir, *arguments))
    assert result.returncode == 0, result.stderr
    return result


def resume(run_dir, *arguments, **environment):
    result = run([sys.executable, "-m", "srgan_lit.train", f"resume={run_dir}", *arguments], **environment)
    assert result.returncode == 0, result.stderr
    return result


def rows(run_dir):
    with (run_dir / "metrics.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def start(arguments, *, own_group=False, **environment):
    return warm_python.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
        start_new_session=own_group,
    )  # fmt: skip


def wait_for(process, run_dir, step):
    """Return as soon as the curve has reached ``step``."""

    def reached():
        path = run_dir / "metrics.csv"
        steps = [row["step"] or "0" for row in rows(run_dir)] if path.is_file() else []
        if any(each.isdigit() and int(each) >= step for each in steps):
            return True
        assert process.poll() is None, process.communicate()
        return False

    until(reached, every=0.05)


def signal_at(process, run_dir, step, signum, *, whole_group=False):
    """Send ``signum`` as soon as the curve has reached ``step``; return the end of it all: stdout and stderr."""
    wait_for(process, run_dir, step)
    (os.killpg if whole_group else os.kill)(process.pid, signum)
    return process.communicate(timeout=HANGS_SECONDS)


def tensors_equal(one, other):
    one, other = load_file(one), load_file(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def tensors_close(one, other, tolerance):
    one, other = load_file(one), load_file(other)
    return one.keys() == other.keys() and all(torch.allclose(one[n], other[n], atol=tolerance) for n in one)


def assert_same_run(run_dir, whole):
    """Bit for bit the files and the curve of the uninterrupted run ``whole``."""
    for name in ("srresnet.safetensors", "generator.safetensors", "best.safetensors"):
        assert tensors_equal(run_dir / name, whole / name), name
    ours, theirs = (
        sorted(sorted((row | {"images_per_second": ""}).items()) for row in rows(folder)) for folder in (run_dir, whole)
    )
    assert ours == theirs
