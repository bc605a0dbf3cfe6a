"""How updates are made: moving average, clipping, parts of a batch, BatchNorm, gradients that are not finite."""

import copy

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from helpers.tiny_training import CROP, Pictures, fit, make, plan, same, snapshot
from srgan_lit.common.errors import SRGANError
from srgan_lit.model_files.generator_file import load_generator
from srgan_lit.networks.discriminator import Discriminator
from srgan_lit.training.callbacks.generator_files import GeneratorFiles
from srgan_lit.training.callbacks.stop_on_divergence import LIMIT, StopWhenDiverged
from srgan_lit.training.float16_scalers import ScalerPerOptimizer

FLOATS = (torch.float32, torch.float64)


class Recorder(L.Callback):
    """The generator after every iteration, and the norms of both networks' gradients."""

    def __init__(self):
        self.generators, self.norms = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.generators.append(snapshot(pl_module.generator))
        for network in (pl_module.generator, pl_module.discriminator):
            gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
            if gradients:
                self.norms.append(float(torch.cat(gradients).norm()))


def close(one, other, tolerance=1e-5):
    return all(torch.allclose(one[name], other[name], atol=tolerance, rtol=1e-4) for name in one)


def test_the_moving_average_is_validated_and_saved(tmp_path):
    module, recorder = make(plan(pretrain=4), ema=0.5), Recorder()
    trainer = fit(module, tmp_path, recorder, GeneratorFiles(tmp_path, trained={}), val_check_interval=4)
    expected = recorder.generators[0]
    for generator in recorder.generators[1:]:
        expected = {
            name: value * 0.5 + generator[name] * 0.5 if value.dtype in FLOATS else value
            for name, value in expected.items()
        }
    saved = load_generator(tmp_path / "generator.safetensors")
    floats = {name: value for name, value in saved.state_dict().items() if value.dtype in FLOATS}
    assert close(floats, expected)
    assert not close(floats, snapshot(module.generator)), "not the generator that is trained"
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    assert same(load_generator(tmp_path / "run.ckpt"), snapshot(saved)), "a checkpoint is used as its result is"

    alone = make(plan(pretrain=4))
    plain = fit(alone, tmp_path / "alone", val_check_interval=4)
    assert same(alone.generator, snapshot(module.generator)), "averaging leaves training as it is"
    assert trainer.callback_metrics["val/psnr"] != plain.callback_metrics["val/psnr"]


def test_the_adversarial_phase_starts_from_what_pretraining_saved(tmp_path):
    seen = []
    module = make(plan(pretrain=3, adversarial=1), ema=0.9)
    step = module.training_step

    def watched(batch, batch_idx):
        seen.append(snapshot(module.generator))
        step(batch, batch_idx)

    module.training_step = watched
    fit(module, tmp_path, GeneratorFiles(tmp_path, trained={}), val_check_interval=100)
    assert same(load_generator(tmp_path / "srresnet.safetensors"), seen[3])
    assert same(load_generator(tmp_path / "generator.safetensors"), snapshot(module.generator)), (
        "the average begins anew"
    )


def test_clipping_bounds_each_network_s_gradient_and_logs_what_it_was(tmp_path):
    module, recorder = make(plan(adversarial=2), clip_gradients=1e-3), Recorder()
    fit(module, tmp_path, recorder, val_check_interval=100)
    assert recorder.norms == pytest.approx([1e-3] * 4, rel=1e-2)
    assert module.values["gradient_norm_generator"] > 1e-3
    assert module.values["gradient_norm_discriminator"] > 1e-3


@pytest.mark.parametrize("phase", [{"pretrain": 3}, {"adversarial": 3}], ids=["pretrain", "adversarial"])
def test_a_batch_in_parts_gives_the_same_update(tmp_path, phase):
    judge = Discriminator(crop=CROP)
    whole, parts = (
        make(plan(**phase), discriminator=copy.deepcopy(judge), batchnorm="frozen", accumulate=count)
        for count in (1, 2)
    )
    for module in (whole, parts):
        fit(module, tmp_path / str(id(module)), val_check_interval=100)
    assert close(snapshot(parts.generator), snapshot(whole.generator))
    assert close(snapshot(parts.discriminator), snapshot(whole.discriminator))
    assert parts.values.keys() == whole.values.keys()
    for name, value in whole.values.items():
        assert float(parts.values[name]) == pytest.approx(float(value), rel=1e-3), name


@pytest.mark.parametrize("count", [2, 8], ids=["uneven", "fewer"])
def test_parts_count_by_their_crops(tmp_path, count):
    class Three(Pictures):
        def train_dataloader(self):
            batches = [{name: value[:3] for name, value in batch.items()} for batch in super().train_dataloader()]
            return DataLoader(batches, batch_size=None)

    whole, parts = (
        make(plan(pretrain=1, adversarial=1), batchnorm="frozen", accumulate=number) for number in (1, count)
    )
    for module in (whole, parts):
        fit(module, tmp_path / str(id(module)), data=Three(), val_check_interval=100)
    for name, value in whole.values.items():
        assert float(parts.values[name]) == pytest.approx(float(value), rel=1e-3), name


def test_each_part_counts_once_in_the_generator_s_statistics(tmp_path):
    module = make(plan(adversarial=3), accumulate=2)
    fit(module, tmp_path, val_check_interval=100)
    counted = {int(value) for name, value in module.generator.named_buffers() if name.endswith("num_batches_tracked")}
    assert counted == {6}


def test_frozen_batchnorm_keeps_its_statistics_and_trains_the_rest(tmp_path):
    module = make(plan(pretrain=2), batchnorm="frozen")
    before = snapshot(module.generator)
    fit(module, tmp_path)
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.generator.named_buffers())
    assert not any(torch.equal(weight, before[name]) for name, weight in module.generator.named_parameters())


@pytest.mark.parametrize(("batchnorm", "kept"), [("batch", ""), ("frozen", "gd"), ("frozen_generator", "g")])
def test_whose_statistics_are_frozen_in_the_adversarial_phase(tmp_path, batchnorm, kept):
    module = make(plan(adversarial=2), batchnorm=batchnorm)
    before = {"g": snapshot(module.generator), "d": snapshot(module.discriminator)}
    fit(module, tmp_path)
    for letter, network in (("g", module.generator), ("d", module.discriminator)):
        unchanged = [torch.equal(buffer, before[letter][name]) for name, buffer in network.named_buffers()]
        assert all(unchanged) if letter in kept else not any(unchanged)


def test_recalibrated_statistics_are_those_of_the_batches(tmp_path):
    class Calibrating(Pictures):
        def calibration(self, number):
            return list(self.train_dataloader())[number]["lr"]

    data, module = Calibrating(), make(plan(pretrain=2), recalibrate=1)
    fit(module, tmp_path, GeneratorFiles(tmp_path, trained={}), data=data)
    saved, trained = load_generator(tmp_path / "generator.safetensors"), copy.deepcopy(module.generator).train()
    assert all(torch.equal(weight, dict(saved.named_parameters())[name]) for name, weight in trained.named_parameters())
    with torch.no_grad():
        batch = data.calibration(0)
        assert torch.allclose(saved.eval()(batch), trained(batch), atol=0.02), "as if normalised by that batch"
        assert not torch.allclose(module.generator.eval()(batch), trained(batch), atol=0.02)


@pytest.mark.parametrize("phase", [{"pretrain": 6}, {"adversarial": 6}], ids=["pretrain", "adversarial"])
def test_an_update_that_is_not_finite_is_left_out_and_counted(tmp_path, phase):
    module, recorder = make(plan(**phase), ema=0.5), Recorder()
    fit(module, tmp_path, recorder, data=Pictures(spoilt=[2, 3]), val_check_interval=100)
    for name, value in recorder.generators[3].items():
        assert torch.equal(value, recorder.generators[1][name]), f"{name}: weights and statistics are as before"
    assert not all(torch.equal(v, recorder.generators[3][k]) for k, v in recorder.generators[4].items())
    assert (module.skipped, module.skipped_in_a_row) == (2, 0)
    assert all(value.isfinite().all() for value in module.state_dict().values())
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/skipped")
    assert [float(row.split(",")[column]) for row in rows[1:7]] == [0, 0, 1, 2, 2, 2]


def test_gradients_that_stay_not_finite_end_the_run_with_the_command_that_goes_on(tmp_path):
    module = make(plan(pretrain=12))
    before, command = snapshot(module.generator), f"resume={tmp_path} phase.pretrain.learning_rate=0.0001"
    with pytest.raises(SRGANError, match=rf"picture9\.png.*from the beginning.*{command}$"):
        fit(module, tmp_path, StopWhenDiverged(tmp_path), data=Pictures(spoilt=range(12)), val_check_interval=100)
    assert module.skipped == LIMIT
    assert same(module.generator, before)


def test_a_negative_loss_is_no_divergence(tmp_path):
    class Negative(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            module.values[module.plan.pretrain.loss] -= 5

    module, divergence = make(plan(pretrain=12)), StopWhenDiverged(tmp_path)
    fit(module, tmp_path, Negative(), divergence, val_check_interval=100)
    assert not divergence.lost


def test_a_phase_that_begins_with_no_number_keeps_what_the_one_before_it_made(tmp_path):
    module, folder = make(plan(pretrain=2, adversarial=20)), tmp_path / "checkpoints"
    keeping = ModelCheckpoint(folder, every_n_train_steps=4, save_top_k=-1)
    watchers, options = (StopWhenDiverged(tmp_path), keeping), {"enable_checkpointing": True, "val_check_interval": 100}
    with pytest.raises(SRGANError, match=r"not finite: .*total.*Go on from iteration 8, before that"):
        fit(module, tmp_path, *watchers, data=Pictures(spoilt=range(2, 12)), **options)
    assert not (folder / "diverged").exists(), "their updates were left out"


def test_in_float16_each_network_has_a_scale_of_its_own(tmp_path):
    plugin = ScalerPerOptimizer("cpu", ("pretrain", "generator", "discriminator"))
    plugin.scalers["discriminator"].load_state_dict(plugin.scalers["generator"].state_dict() | {"scale": 1e38})
    module = make(plan(adversarial=3), clip_gradients=1.0)
    discriminator = snapshot(module.discriminator)
    fit(module, tmp_path, plugins=[plugin], val_check_interval=100)
    assert plugin.scalers["discriminator"].get_scale() < 1e38, "it overflowed"
    assert plugin.scalers["generator"].get_scale() == 65536, "which is not the generator's affair"
    weights = dict(module.discriminator.named_parameters())
    assert all(torch.equal(weight, discriminator[name]) for name, weight in weights.items()), "no step was made"
    assert 0 < module.values["gradient_norm_generator"] < 100, "unscaled"
    assert module.skipped == 3
    assert module.skipped_in_a_row == 0, "a scaler that looks for its scale is no alarm"
    restored = ScalerPerOptimizer("cpu", ("pretrain", "generator", "discriminator"))
    restored.load_state_dict(plugin.state_dict())
    assert restored.state_dict() == plugin.state_dict()
