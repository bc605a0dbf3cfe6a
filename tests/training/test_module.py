"""Phases and updates, run by a real Trainer on tiny networks: who learns when, from what, and how fast."""

import copy
import csv

import lightning as L
import pytest
import torch

from helpers.tiny_training import fit, make, plan, same, snapshot
from srgan_lit.config.schema import ScheduleConfig
from srgan_lit.model_files.generator_file import load_generator, read_metadata
from srgan_lit.training import schedules
from srgan_lit.training.callbacks.generator_files import GeneratorFiles
from srgan_lit.training.module import SRGANModule
from srgan_lit.training.run_files import ContinuedCSVLogger, RunCheckpoints


class Watch(L.Callback):
    """Records, around each optimizer's steps, what happened to both networks."""

    def __init__(self):
        self.generator_changed, self.discriminator_changed, self.forwards = [], [], 0

    def on_fit_start(self, trainer, pl_module):
        pl_module.generator.register_forward_hook(self.count)
        update = pl_module.update

        def watched(name, *parts):
            before = copy.deepcopy((snapshot(pl_module.generator), snapshot(pl_module.discriminator)))
            update(name, *parts)
            self.generator_changed.append((name, not same(pl_module.generator, before[0])))
            self.discriminator_changed.append((name, not same(pl_module.discriminator, before[1])))

        pl_module.update = watched

    def count(self, *_):
        self.forwards += 1


def test_pretraining_changes_the_generator_and_leaves_the_discriminator_bit_identical(tmp_path):
    module = make(plan(pretrain=4))
    generator, discriminator = snapshot(module.generator), snapshot(module.discriminator)
    trainer = fit(module, tmp_path)
    assert trainer.global_step == 4
    assert not same(module.generator, generator)
    assert same(module.discriminator, discriminator)


def test_each_update_changes_its_own_network_only(tmp_path):
    module, watch = make(plan(adversarial=3)), Watch()
    trainer = fit(module, tmp_path, watch, val_check_interval=1000)
    assert watch.generator_changed == [("discriminator", False), ("generator", True)] * 3
    assert watch.discriminator_changed == [("discriminator", True), ("generator", False)] * 3
    assert trainer.global_step == 3, "an adversarial iteration counts once, not once per optimizer"
    assert watch.forwards == 3, "one generator forward serves both updates"


def test_generator_update_leaves_batchnorm_statistics_of_the_discriminator(tmp_path):
    """Bit for bit means buffers too: the discriminator sees real and generated once each per iteration."""
    module = make(plan(adversarial=2))
    fit(module, tmp_path)
    assert module.discriminator.features[3].num_batches_tracked.item() == 2 * 2


@pytest.mark.parametrize("part", ["mse", "perceptual", "adversarial"])
def test_each_part_of_the_loss_trains_the_generator_alone(tmp_path, part):
    weights = {"mse": 0.0, "perceptual": 0.0, "adversarial": 0.0} | {part: 1.0}
    module = make(plan(adversarial=2, weights=weights))
    before = snapshot(module.generator)
    fit(module, tmp_path)
    parameters = dict(module.generator.named_parameters())
    assert all(not torch.equal(value, before[name]) for name, value in parameters.items())
    with (tmp_path / "metrics.csv").open() as opened:
        rows = [row for row in csv.DictReader(opened) if row["train/total"]]
    assert rows[0][f"train/{part}"] == rows[0]["train/total"]


def test_parts_are_logged_unweighted_and_the_total_weighted(tmp_path):
    weights = {"mse": 0.5, "perceptual": 2.0, "adversarial": 0.25}
    fit(make(plan(adversarial=2, weights=weights)), tmp_path)
    with (tmp_path / "metrics.csv").open() as opened:
        rows = [row for row in csv.DictReader(opened) if row["train/total"]]
    assert [int(row["step"]) for row in rows] == [1, 2], "iterations done"
    for row in rows:
        total = sum(weight * float(row[f"train/{name}"]) for name, weight in weights.items())
        assert float(row["train/total"]) == pytest.approx(total, rel=1e-5)


def test_a_row_of_the_curve_holds_its_own_phase_only(tmp_path):
    fit(make(plan(pretrain=2, adversarial=2)), tmp_path)
    with (tmp_path / "metrics.csv").open() as opened:
        rows = [row for row in csv.DictReader(opened) if row["learning_rate/generator"]]
    assert [bool(row["train/mse"]) for row in rows] == [True, True, False, False]
    assert [bool(row["train/perceptual"]) for row in rows] == [False, False, True, True]


def test_full_run_goes_from_one_phase_to_the_other(tmp_path):
    module, watch = make(plan(pretrain=3, adversarial=2)), Watch()
    trainer = fit(module, tmp_path, watch, GeneratorFiles(tmp_path, trained={"phase": "full"}))
    names = [name for name, _ in watch.generator_changed]
    assert names == ["pretrain"] * 3 + ["discriminator", "generator"] * 2
    assert trainer.global_step == 5

    alone = make(plan(pretrain=3))  # pretraining alone ends where the full run's pretraining ended
    fit(alone, tmp_path / "alone")
    pretrained = load_generator(tmp_path / "srresnet.safetensors")
    assert same(pretrained, snapshot(alone.generator))
    assert same(load_generator(tmp_path / "generator.safetensors"), snapshot(module.generator))
    assert not same(pretrained, snapshot(module.generator))
    assert read_metadata(tmp_path / "srresnet.safetensors").trained == {"phase": "full", "iterations": 3}
    assert read_metadata(tmp_path / "generator.safetensors").trained["iterations"] == 5


def test_best_generator_file_holds_the_best_validation(tmp_path):
    class Scripted(SRGANModule):
        def validation_step(self, batch, batch_idx):
            self.log("val/psnr", {2: 20.0, 4: 22.0, 6: 21.0}[self.global_step], batch_size=1)

    module = make(plan(pretrain=6))
    module.__class__ = Scripted
    fit(module, tmp_path, GeneratorFiles(tmp_path, trained={}))
    metadata = read_metadata(tmp_path / "best.safetensors")
    assert metadata.trained["iterations"] == 4
    assert metadata.scores == {"validation": {"psnr": 22.0}}
    assert read_metadata(tmp_path / "generator.safetensors").trained["iterations"] == 6


def test_validation_scores_stand_next_to_bicubic(tmp_path):
    trainer = fit(make(plan(pretrain=2)), tmp_path)
    assert {"val/psnr", "val/ssim", "val/psnr_bicubic", "val/ssim_bicubic"} <= trainer.callback_metrics.keys()
    assert 5 < trainer.callback_metrics["val/psnr_bicubic"] < 15, "noise against noise"


def test_feature_weights_are_in_no_checkpoint():
    module = make(plan(adversarial=1))
    assert {name.partition(".")[0] for name in module.state_dict()} == {"generator", "discriminator"}
    assert {name.partition(".")[0] for name, _ in module.named_parameters()} == {"generator", "discriminator"}


def logged_rates(tmp_path, phase, name):
    fit(make(phase), tmp_path)
    with (tmp_path / "metrics.csv").open() as opened:
        return [float(row[name]) for row in csv.DictReader(opened) if row[name]]


def test_learning_rates_step_at_the_stated_iteration_for_both_networks(tmp_path):
    phase = plan(adversarial=6, schedule="steps", decay_at=[0.5])
    for network in ("generator", "discriminator"):
        rates = logged_rates(tmp_path / network, phase, f"learning_rate/{network}")
        assert rates == pytest.approx([1e-3] * 3 + [1e-4] * 3)


def test_the_papers_schedule_falls_after_its_first_hundred_thousand():
    config = ScheduleConfig(iterations=200_000, schedule="steps", decay_at=[0.5])
    assert [schedules.factor(config, i) for i in (0, 99_999, 100_000, 199_999)] == pytest.approx([1, 1, 0.1, 0.1])


def test_cosine_and_warmup():
    cosine = ScheduleConfig(iterations=100, schedule="cosine")
    assert [schedules.factor(cosine, i) for i in (0, 50, 100)] == pytest.approx([1, 0.5, 0])
    warm = ScheduleConfig(iterations=100, warmup=4)
    assert [schedules.factor(warm, i) for i in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


def test_the_discriminator_learns_to_tell_and_its_probabilities_are_logged(tmp_path):
    fit(make(plan(adversarial=12, weights={"mse": 1.0, "perceptual": 0.0, "adversarial": 0.0})), tmp_path)
    with (tmp_path / "metrics.csv").open() as opened:
        rows = [row for row in csv.DictReader(opened) if row["train/discriminator"]]
    assert float(rows[-1]["train/discriminator"]) < float(rows[0]["train/discriminator"])
    assert float(rows[-1]["train/probability_real"]) > float(rows[-1]["train/probability_generated"])


@pytest.mark.parametrize("loss", ["relativistic", "least_squares", "hinge"])
def test_other_adversarial_losses_train_both_networks(tmp_path, loss):
    module = make(plan(adversarial=2, loss=loss))
    before = snapshot(module.generator), snapshot(module.discriminator)
    fit(module, tmp_path)
    assert not same(module.generator, before[0])
    assert not same(module.discriminator, before[1])


def test_bf16_trains_with_float32_losses(tmp_path):
    module = make(plan(pretrain=1, adversarial=2))
    trainer = fit(module, tmp_path, precision="bf16-mixed")
    assert trainer.global_step == 3
    assert all(value.dtype == torch.float32 for value in module.values.values())
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in module.parameters())


def test_the_row_of_an_iteration_is_on_the_disk_before_its_checkpoint(tmp_path):
    rows = {}

    class Recorded(RunCheckpoints):
        def _save_checkpoint(self, trainer, filepath):
            with (tmp_path / "metrics.csv").open() as curve:
                rows[trainer.global_step] = [row["step"] for row in csv.DictReader(curve)]
            super()._save_checkpoint(trainer, filepath)

    module = make(plan(pretrain=4))
    fit(
        module,
        tmp_path,
        Recorded(tmp_path / "checkpoints", every=2, validate_every=100, unless=lambda: False),
        logger=ContinuedCSVLogger(tmp_path, iteration=0),
        enable_checkpointing=True,
        limit_val_batches=0,
    )
    assert rows == {2: ["1", "2"], 4: ["1", "2", "3", "4"]}, "a run killed between the two would go on without the row"
