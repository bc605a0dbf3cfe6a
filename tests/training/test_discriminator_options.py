"""What trainers of GANs set of the discriminator, and what makes a validation the best: each does what it says."""

import csv

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from safetensors.torch import save_file

from helpers.tiny_training import CROP, fit, make, plan, same, snapshot
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.composition import configuration
from srgan_lit.config.shipped import CONF
from srgan_lit.losses import gradient_penalty
from srgan_lit.model_files.generator_file import read_metadata
from srgan_lit.networks.discriminator import Discriminator, frozen
from srgan_lit.training import build
from srgan_lit.training.callbacks.configured_learning_rates import ConfiguredLearningRates
from srgan_lit.training.callbacks.generator_files import GeneratorFiles
from srgan_lit.training.module import SRGANModule

ADVERSARIAL = ("experiment=demo", "phase=adversarial", "model.blocks=1", "model.features=8", "data.crop=16")


def composed(run_dir, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=[*ADVERSARIAL, "init_from=null", *overrides])
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    return configuration(cfg)


def curve(folder, name):
    with (folder / "metrics.csv").open() as opened:
        return [float(row[name]) for row in csv.DictReader(opened) if row.get(name)]


def test_the_discriminator_has_a_learning_rate_of_its_own(tmp_path):
    fit(make(plan(adversarial=2, discriminator_learning_rate=4e-3, schedule="constant")), tmp_path)
    assert curve(tmp_path, "learning_rate/discriminator") == pytest.approx([4e-3] * 2)
    assert curve(tmp_path, "learning_rate/generator") == pytest.approx([1e-3] * 2)
    # The callback that gives a resumed run the learning rates of its configuration knows it too.
    fit(
        make(plan(adversarial=2, discriminator_learning_rate=4e-3, schedule="constant")),
        tmp_path / "again",
        ConfiguredLearningRates(),
    )
    assert curve(tmp_path / "again", "learning_rate/discriminator") == pytest.approx([4e-3] * 2)


@pytest.mark.usefixtures("narrow_discriminators")
def test_a_discriminator_goes_on_from_a_checkpoint_or_a_run(tmp_path):
    trained = make(plan(adversarial=2))
    fit(trained, tmp_path).save_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    for source in (tmp_path, tmp_path / "checkpoints" / "last.ckpt"):
        module = build.module(composed(tmp_path, f"init_discriminator_from={source}"))
        assert same(module.discriminator, snapshot(trained.discriminator))
    assert not same(build.module(composed(tmp_path)).discriminator, snapshot(trained.discriminator))
    with pytest.raises(SRGANError, match=r"data\.crop and discriminator\.normalisation"):
        build.module(composed(tmp_path, f"init_discriminator_from={tmp_path}", "data.crop=32"))
    with pytest.raises(UsageError, match="no such checkpoint"):
        build.module(composed(tmp_path, f"init_discriminator_from={tmp_path}/gone"))
    fit(make(plan(pretrain=1)), tmp_path / "pretrain").save_checkpoint(tmp_path / "plain.ckpt")
    broken = torch.load(tmp_path / "plain.ckpt", weights_only=True)
    broken["state_dict"] = {k: v for k, v in broken["state_dict"].items() if not k.startswith("discriminator.")}
    torch.save(broken, tmp_path / "plain.ckpt")
    with pytest.raises(SRGANError, match="has no discriminator"):
        build.module(composed(tmp_path, f"init_discriminator_from={tmp_path}/plain.ckpt"))


@pytest.mark.usefixtures("narrow_discriminators")
def test_spectral_normalisation_bounds_every_layer(tmp_path):
    options = ("discriminator.normalisation=spectral", "phase.adversarial.iterations=20", "phase.adversarial.warmup=0")
    module = build.module(composed(tmp_path, *options))
    fit(module, tmp_path)
    judge = module.discriminator
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in judge.modules())
    layers = [layer for layer in judge.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    judge.eval()
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2) < 1.3
    plain = build.module(composed(tmp_path)).discriminator
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in plain.modules())
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "spectral.ckpt")
    again = SRGANModule.load_from_checkpoint(tmp_path / "spectral.ckpt")
    assert same(again.discriminator, snapshot(judge))


@pytest.mark.parametrize("normalisation", ["batch", "spectral"])
def test_a_frozen_discriminator_keeps_every_bit(normalisation):
    judge = Discriminator(crop=CROP, normalisation=normalisation)
    before = snapshot(judge)
    picture = torch.rand(2, 3, CROP, CROP, requires_grad=True)
    with frozen(judge):
        judge(picture).sum().backward()
    assert same(judge, before)
    assert picture.grad.abs().sum() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in judge.parameters())
    judge(picture)
    assert not same(judge, before), "and goes on following afterwards"


def test_r1_is_half_the_squared_slope_at_real_crops():
    judge = Discriminator(crop=CROP, normalisation="spectral").eval()
    hr = torch.rand(3, 3, CROP, CROP)
    slopes = []
    for one in hr:
        one = one[None].clone().requires_grad_()
        judge(one).backward()
        slopes.append(one.grad.square().sum() / 2)
    before = snapshot(judge)
    penalty = gradient_penalty.r1(judge, hr)
    assert penalty.item() == pytest.approx(torch.stack(slopes).mean().item(), rel=1e-4)
    penalty.backward()
    assert judge.classifier[1].parametrizations.weight.original.grad.abs().sum() > 0, "it reaches the weights"
    assert same(judge, before)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_r1_is_added_every_so_many_iterations_and_its_weight_counts(tmp_path, monkeypatch, precision):
    asked = []
    penalty = gradient_penalty.r1
    monkeypatch.setattr(gradient_penalty, "r1", lambda *given: asked.append(1) or penalty(*given))
    trained = {}
    for r1 in (0.0, 1.0, 100.0):
        torch.manual_seed(0)
        module = make(plan(adversarial=4, r1=r1, r1_every=2), discriminator=Discriminator(crop=CROP))
        fit(module, tmp_path / str(r1), precision=precision)
        trained[r1] = snapshot(module.discriminator)
        assert len(asked) == (2 if r1 else 0)
        asked.clear()
    assert not all(torch.equal(value, trained[1.0][name]) for name, value in trained[0.0].items())
    assert not all(torch.equal(value, trained[100.0][name]) for name, value in trained[1.0].items())
    assert len(curve(tmp_path / "1.0", "train/r1")) == 4
    assert curve(tmp_path / "0.0", "train/r1") == []
    if precision == "32-true":  # two penalties are few, and bfloat16 rounds more than they change
        steep, flat = (curve(tmp_path / r1, "train/r1")[-1] for r1 in ("1.0", "100.0"))
        assert flat < steep


@pytest.mark.parametrize(
    ("best_by", "iterations"), [(None, 2), ("psnr", 4), ("ssim", 6), ("perceptual", 2), ("lpips", 8)]
)
def test_the_best_is_chosen_by_the_score_that_is_named(tmp_path, best_by, iterations):
    class Scripted(SRGANModule):
        def validation_step(self, batch, batch_idx):
            scores = {"psnr": (1, 9, 2, 3), "ssim": (1, 2, 9, 3), "perceptual": (1, 5, 6, 7), "lpips": (5, 4, 3, 1)}
            for name, values in scores.items():
                self.log(f"val/{name}", float(values[self.global_step // 2 - 1]), batch_size=1)

    module = make(plan(adversarial=8))
    module.__class__ = Scripted
    fit(module, tmp_path, GeneratorFiles(tmp_path, trained={}, best_by=best_by))
    assert read_metadata(tmp_path / "best.safetensors").trained["iterations"] == iterations
    config = composed(tmp_path, *([f"best_by={best_by}"] if best_by else []), "lpips=alex")
    (files,) = (each for each in build.trainer(config).callbacks if isinstance(each, GeneratorFiles))
    assert files.best_by == best_by


def test_validations_are_scored_by_lpips_where_its_weights_are_given(tmp_path):
    from torchvision.models import alexnet

    torch.manual_seed(0)
    backbone = tmp_path / "alex.safetensors"
    save_file({f"features.{name}": value for name, value in alexnet().features.state_dict().items()}, backbone)
    module = build.module(composed(tmp_path, f"lpips={backbone}"))
    data = build.datamodule(composed(tmp_path))
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", limit_val_batches=1)
    (scores,) = trainer.validate(module, data, verbose=False)
    assert 0 < scores["val/lpips"] < 10
    assert not any(name.startswith("_lpips") for name in module.state_dict())
    assert "val/lpips" not in trainer.validate(build.module(composed(tmp_path)), data, verbose=False)[0]
    with pytest.raises(UsageError, match=r"gone.*no such file"):
        build.module(composed(tmp_path, "lpips=gone.safetensors"))
