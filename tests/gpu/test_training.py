"""Trainings on a GPU learn what they learn on the processor, and leave the host free to run ahead."""

import dataclasses
import math
import signal

import pytest
import torch

from helpers.configurations import tiny
from helpers.quiet_iterations import Armed, Disarmed
from helpers.tiny_runs import rows, tensors_close
from helpers.tiny_training import Pictures, fit, make, plan
from srgan_lit.training import run
from srgan_lit.training.callbacks.progress_bar import IterationBar
from srgan_lit.training.callbacks.stop_on_divergence import StopWhenDiverged
from srgan_lit.training.callbacks.stop_on_signal import StopOnSignal, Stopped

pytestmark = pytest.mark.gpu

# How far a loss may be from the processor's after a dozen iterations, by precision.
TOLERANCES = {"32-true": 0.01, "bf16-mixed": 0.1, "16-mixed": 0.1}
LOSSES = ("train/l1", "train/total", "train/perceptual", "train/discriminator")
OPTIONS = [
    "optimization.ema=0.9", "optimization.clip_gradients=0.1", "optimization.accumulate=2",
    "optimization.recalibrate=2", "phase.adversarial.r1=1", "phase.adversarial.r1_every=2",
    "discriminator.normalisation=spectral",
]  # fmt: skip
UNET = ["discriminator=unet", "discriminator.features=8", "phase.adversarial.r1=1", "optimization.accumulate=2"]
NO_TF32 = "trainer.tf32_convolutions=false"


def trained(run_dir, accelerator, *overrides):
    """The curve of a whole training in this process."""
    run.train(tiny(run_dir, f"trainer.accelerator={accelerator}", NO_TF32, *overrides))
    return rows(run_dir)


@pytest.fixture(scope="module")
def on_processor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processor")
    return {
        options: trained(folder / str(len(options)), "cpu", *options) for options in ((), tuple(OPTIONS), tuple(UNET))
    }


def compare(ours, theirs, tolerance):
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    compared = 0
    for one, other in zip(ours, theirs, strict=True):
        for name in LOSSES:
            if other.get(name):
                assert float(one[name]) == pytest.approx(float(other[name]), rel=tolerance), (other["step"], name)
                compared += 1
        for name in ("learning_rate/generator", "learning_rate/discriminator"):
            assert one[name] == other[name], name
        if other.get("val/psnr"):
            assert float(one["val/psnr"]) == pytest.approx(float(other["val/psnr"]), abs=10 * tolerance)
            assert float(one["val/psnr_bicubic"]) == pytest.approx(float(other["val/psnr_bicubic"]), abs=1e-4)
    assert compared > 12


@pytest.mark.parametrize("precision", TOLERANCES)
def test_both_phases_learn_what_the_processor_learns(tmp_path, accelerator, on_processor, precision):
    if accelerator == "cpu" and precision == "16-mixed":
        pytest.skip("only a GPU trains in float16")
    curve = trained(tmp_path / "run", accelerator, f"trainer.precision={precision}")
    if precision == "16-mixed":  # a scaler may leave iterations out until it has its scale
        assert float(curve[-1]["train/skipped"] or curve[-2]["train/skipped"]) < 6
        assert all(math.isfinite(float(row[name])) for row in curve for name in LOSSES if row.get(name))
    else:
        compare(curve, on_processor[()], TOLERANCES[precision])
    assert (tmp_path / "run" / "report" / "results.json").is_file()


def test_every_option_of_the_updates(tmp_path, accelerator, on_processor):
    compare(trained(tmp_path / "run", accelerator, *OPTIONS), on_processor[tuple(OPTIONS)], 0.02)


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path, accelerator, monkeypatch):
    overrides = ("trainer.deterministic=warn", "optimization.ema=0.9")
    whole = trained(tmp_path / "whole", accelerator, *overrides)
    look = StopOnSignal.on_train_batch_end

    def stop_at_nine(self, trainer, *given):
        if trainer.global_step == 9:
            self._receive(signal.SIGTERM, None)
        look(self, trainer, *given)

    monkeypatch.setattr(StopOnSignal, "on_train_batch_end", stop_at_nine)
    with pytest.raises(Stopped, match="after iteration 9 of 12"):
        trained(tmp_path / "run", accelerator, *overrides)
    monkeypatch.undo()
    config = tiny(tmp_path / "run", f"trainer.accelerator={accelerator}", NO_TF32, *overrides)
    run.train(dataclasses.replace(config, resume=str(tmp_path / "run")))
    compare(rows(tmp_path / "run"), whole, 1e-3)
    for name in ("srresnet.safetensors", "generator.safetensors"):
        assert tensors_close(tmp_path / "run" / name, tmp_path / "whole" / name, 1e-5), name


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_networks_learn_the_same(tmp_path, accelerator, on_processor, mode, request):
    if mode == "reduce-overhead":
        request.getfixturevalue("on_gpu_only")  # CUDA graphs
    compare(trained(tmp_path / "run", accelerator, f"compile={mode}"), on_processor[()], 0.05)


@pytest.mark.parametrize("options", [[], OPTIONS, UNET], ids=["plain", "every option", "unet"])
def test_recorded_iterations_learn_the_same(tmp_path, accelerator, on_processor, options, on_gpu_only):
    curve = trained(tmp_path / "run", accelerator, "trainer.cuda_graph=true", *options)
    compare(curve, on_processor[tuple(options)], 0.02)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_the_host_waits_only_where_a_line_is_logged(tmp_path, accelerator, precision):
    if accelerator == "cpu" and precision == "16-mixed":
        pytest.skip("only a GPU trains in float16")
    game = {"r1": 1.0, "r1_every": 2}
    module, armed = make(plan(pretrain=6, adversarial=6, **game), ema=0.9, clip_gradients=1.0), Armed()
    watchers = [armed, IterationBar(refresh_rate=1), StopWhenDiverged(tmp_path), StopOnSignal(), Disarmed(armed)]
    fit(
        module, tmp_path, *watchers, data=Pictures(spoilt=[1, 8]), val_check_interval=100, accelerator=accelerator,
        devices=1, precision=precision, log_every_n_steps=4, enable_progress_bar=True,
    )  # fmt: skip
    assert armed.iterations == 9
    assert module.skipped >= 2


def test_batches_are_bytes_in_pinned_memory_until_they_are_on_the_device(tmp_path, accelerator, monkeypatch, device):
    from srgan_lit.data.datamodule import SRDataModule

    seen = []

    class Looking(SRDataModule):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            seen.append(("before", batch["hr"].dtype, batch["hr"].is_pinned()))
            return batch

        def on_after_batch_transfer(self, batch, dataloader_idx):
            seen.append(("after", batch["hr"].dtype, batch["hr"].device.type))
            return super().on_after_batch_transfer(batch, dataloader_idx)

    data = Looking("sample", crop=16, batch_size=4)
    fit(make(plan(pretrain=2)), tmp_path, data=data, accelerator=accelerator, devices=1, limit_val_batches=0)
    pinned = device.type == "cuda"
    assert seen[:2] == [("before", torch.uint8, pinned), ("after", torch.uint8, device.type)]
