"""An iteration leaves the host free to run ahead, and asks little of the device."""

import copy
import json
import os
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from helpers import warm_python
from helpers.operations import Launched, NoWaiting
from helpers.quiet_iterations import EVERY, Armed, Disarmed
from helpers.tiny_training import Pictures, fit, make, plan
from srgan_lit.benchmarking import workloads
from srgan_lit.common.errors import SRGANError
from srgan_lit.config.schema import OptimizationConfig
from srgan_lit.networks import discriminators, prelu, srresnet, winograd
from srgan_lit.networks.srresnet import Generator
from srgan_lit.training import updates
from srgan_lit.training.callbacks.progress_bar import IterationBar
from srgan_lit.training.callbacks.stop_on_divergence import FIRST, StopWhenDiverged
from srgan_lit.training.callbacks.stop_on_signal import StopOnSignal
from srgan_lit.training.float16_scalers import OPTIMIZERS, ScalerPerOptimizer


@pytest.mark.parametrize(
    ("game", "options", "precision"),
    [
        ({}, {}, "32-true"),
        ({}, {"ema": 0.9, "accumulate": 2}, "bf16-mixed"),
        ({"r1": 1.0, "r1_every": 2, "loss": "relativistic"}, {"batchnorm": "frozen"}, "32-true"),
        ({"r1": 1.0, "r1_every": 2}, {"ema": 0.9, "clip_gradients": 1.0}, "16-mixed"),
    ],
    ids=["plain", "parts", "frozen", "float16"],
)
def test_the_host_waits_for_the_device_only_where_a_line_is_logged(tmp_path, game, options, precision):
    module, armed = make(plan(pretrain=6, adversarial=6, **game), **options), Armed()
    callbacks = [armed, IterationBar(refresh_rate=1), StopWhenDiverged(tmp_path), StopOnSignal(), Disarmed(armed)]
    scalers = {"plugins": [ScalerPerOptimizer("cpu", OPTIMIZERS)]}
    how = scalers if precision == "16-mixed" else {"precision": precision}
    options = {"val_check_interval": 100, "log_every_n_steps": EVERY, "enable_progress_bar": True, **how}
    fit(module, tmp_path, *callbacks, data=Pictures(spoilt=[1, 8]), **options)
    assert armed.iterations == 9
    more = precision == "16-mixed"  # where a scaler looks for its scale
    assert module.skipped == 2 or (module.skipped > 2 and more), "counted all the same"


def test_losses_and_skips_between_two_lines_are_not_overlooked(tmp_path):
    class Asking(L.Callback):
        """Whether the weights are lost, as a checkpoint asks between two lines."""

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step in (5, 6):
                said.append(divergence.lost)

    class Exploding(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 6:
                module.values[module.plan.pretrain.loss] *= 1e6

    said, module, divergence = [], make(plan(pretrain=12)), StopWhenDiverged(tmp_path)
    apart = {"val_check_interval": 100, "log_every_n_steps": EVERY}
    fit(module, tmp_path, Exploding(), divergence, Asking(), **apart)
    assert said == [False, True]
    assert not divergence.lost, "and is sound again"
    assert len(divergence.state_dict()["first"]["pretrain"]) == FIRST
    with pytest.raises(SRGANError, match=r"12 iterations in a row up to 12 .*picture11\.png"):
        fit(make(plan(pretrain=12)), tmp_path, StopWhenDiverged(tmp_path), data=Pictures(spoilt=range(12)), **apart)


def test_reading_a_number_is_noticed():
    for read in (float, bool, torch.nonzero, lambda x: torch.tensor(1.0) + x, lambda x: x.to("meta")):
        with pytest.raises(AssertionError, match="the host waits"), NoWaiting():
            read(torch.ones(1))


def steps(adversarial, **options):
    settings = workloads.Settings(device=torch.device("cpu"), blocks=16, batch=1, side=16, tile=8)
    made = (workloads.adversarial_training if adversarial else workloads.pretraining)(settings)[0]
    if options:
        ours = workloads.Steps(
            generator=made.generator, discriminator=made.discriminator, perceptual=made.perceptual, phase=made.plan,
            optimization=OptimizationConfig(**options),
        )  # fmt: skip
        made = ours.prepare(settings.device)
    return made, settings


@pytest.mark.parametrize(
    ("adversarial", "options", "most"),
    [(False, {}, 310), (False, {"ema": 0.999}, 330), (True, {}, 690)],
    ids=["pretrain", "pretrain-ema", "adversarial"],
)
def test_a_step_of_sixteen_blocks_launches_few_operations(adversarial, options, most, monkeypatch):
    """They were 397, 635 and 919 (with Winograd's) with snapshots of statistics and torch's update of whole numbers."""
    # As on a GPU, where launches count: ways that only a CPU takes have more of them.
    monkeypatch.setattr(prelu._PReLU, "apply", torch.nn.functional.prelu)
    monkeypatch.setattr(winograd.Conv3x3, "_pays", lambda *_: False)
    monkeypatch.setattr(srresnet.Tail, "forward", lambda tail, x: nn.Conv2d.forward(tail, srresnet.shuffled(x)))
    ours, settings = steps(adversarial, **options)
    lr, hr = (image.contiguous(memory_format=torch.channels_last) for image in workloads.random_batch(settings))
    ours.training_step({"lr": lr, "hr": hr}, 0)
    with Launched() as launched:
        ours.training_step({"lr": lr, "hr": hr}, 0)
    assert launched.count <= most


def test_the_average_is_torch_s_to_the_bit():
    torch.manual_seed(0)
    network = Generator(blocks=1, features=8).to(memory_format=torch.channels_last)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    ours = copy.deepcopy(theirs)
    ours.module.to(memory_format=torch.contiguous_format)  # in another order than what it is the average of
    for step in range(6):
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.add_(torch.randn(tensor.shape) if tensor.is_floating_point() else 3)
        finite = step not in (0, 3)
        if finite:
            theirs.update_parameters(network)
        updates.average(ours, network, decay=0.9, finite=torch.tensor(finite))
        for name, value in theirs.state_dict().items():
            assert torch.equal(value, ours.state_dict()[name]), (step, name)


def test_what_a_spoilt_batch_did_to_the_statistics_is_undone():
    network = Generator(blocks=1, features=8)
    before = copy.deepcopy(network.state_dict())
    for spoilt in (True, False):
        kept = updates.Kept(network, None)
        network(torch.full((1, 3, 8, 8), torch.nan if spoilt else 0.5))
        kept.restore(torch.tensor(spoilt))
        assert spoilt == all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(buffer.isfinite().all() for buffer in network.buffers())


def test_two_processes_exchange_the_gradients_of_the_network_that_is_updated(tmp_path):
    """Bit for bit what Lightning's own DDP computes, which reduces both networks at every update."""
    program = Path(__file__).parents[1] / "helpers" / "two_strategies.py"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = warm_python.run(
        [*launcher, str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ
        | {"PYTHONPATH": f"{program.parents[1]}{os.pathsep}{os.environ['PYTHONPATH']}", "WARM_CHILDREN": "1"},
    )
    assert result.returncode == 0, result.stderr
    by_kind = json.loads((tmp_path / "said.json").read_text())
    assert by_kind.keys() == discriminators.DISCRIMINATORS.keys()
    for said in by_kind.values():
        assert_exchanged(said)


def assert_exchanged(said):
    generator, discriminator = said["bytes"]["generator"], said["bytes"]["discriminator"]
    assert said["reduced"]["lightning"] == {
        name: [generator + discriminator] * 2 for name in ("pretrain", "generator", "discriminator")
    }
    assert said["reduced"]["ours"] == {
        "pretrain": [generator] * 2, "generator": [generator] * 2, "discriminator": [discriminator] * 2,
    }  # fmt: skip
    assert said["differing"] == []
    assert said["questions"]["lightning"] >= 4, "Lightning asks the first process before each iteration"
    assert said["questions"]["ours"] == 0
