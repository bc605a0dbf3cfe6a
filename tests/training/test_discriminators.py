"""Discriminators as parts: each kind plays every game, is saved and read again, and says what does not fit."""

import dataclasses

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from helpers import tape
from helpers.tiny_training import CROP, fit, make, plan, same, snapshot
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config import combinations
from srgan_lit.config.composition import configuration
from srgan_lit.config.shipped import CONF
from srgan_lit.losses import gradient_penalty
from srgan_lit.losses.adversarial import KINDS
from srgan_lit.networks import discriminators
from srgan_lit.networks.discriminator import Discriminator, frozen
from srgan_lit.networks.unet_discriminator import UNetDiscriminator
from srgan_lit.training import build, parts, recorded_iterations
from srgan_lit.training.module import SRGANModule


class Patches(torch.nn.Module):
    """A user's own: a logit for each of 4x4 patches."""

    def __init__(self, width=4):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, width, 4, stride=4), torch.nn.BatchNorm2d(width), torch.nn.LeakyReLU(0.2),
            torch.nn.Conv2d(width, 1, 1),
        )  # fmt: skip

    def forward(self, image):
        return self.layers(image)


def blind(image):
    return image


class OneForAll(torch.nn.Module):
    def forward(self, image):
        return image.mean()


MAKE = {
    "srgan": lambda: Discriminator(crop=CROP),
    "unet": lambda: UNetDiscriminator(features=4),
    "own": Patches,
}


def composed(run_dir, *overrides):
    GlobalHydra.instance().clear()
    common = ["experiment=demo", "phase=adversarial", "init_from=null", "model.blocks=1", "model.features=8"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=[*common, f"data.crop={CROP}", *overrides])
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    return configuration(cfg)


def check(config):
    combinations.check(config)
    parts.check(config)


def own(what):
    return ("discriminator=own", f"+discriminator.network._target_={__name__}.{what}")


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("game", KINDS)
def test_every_kind_plays_every_game(tmp_path, kind, game):
    phase = plan(adversarial=2, loss=game, r1=0.5, r1_every=2)
    module = make(phase, discriminator=MAKE[kind](), ema=0.9, accumulate=2)
    before = [snapshot(network) for network in (module.generator, module.discriminator)]
    fit(module, tmp_path)
    assert module.skipped == 0
    assert not same(module.generator, before[0])
    judged = dict(module.discriminator.named_parameters())
    assert not any(torch.equal(value, before[1][name]) for name, value in judged.items() if value.dim() > 1)
    assert all(torch.isfinite(value).all() for value in module.values.values())
    low, guess = KINDS[game].bounds(1.0)
    assert low < float(module.values["discriminator"]) < 3 * guess + 1


@pytest.mark.parametrize("kind", MAKE)
def test_the_generator_learns_and_the_frozen_judge_keeps_every_bit(kind):
    judge = MAKE[kind]()
    before, picture = snapshot(judge), torch.rand(2, 3, CROP, CROP, requires_grad=True)
    with frozen(judge):
        judge(picture).mean().backward()
    assert same(judge, before)
    assert picture.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in judge.parameters())


def test_the_unet_judges_every_pixel_by_its_surroundings():
    judge = UNetDiscriminator(features=4).eval()
    picture = torch.rand(1, 3, 32, 40)
    logits = judge(picture)
    assert logits.shape == (1, 1, 32, 40)
    spoilt = picture.clone()
    spoilt[..., 4:8, 4:8] = 0
    change = (judge(spoilt) - logits).abs()[0, 0]
    assert change[4:8, 4:8].mean() > 10 * change[24:, 32:].mean()
    for name, layer in judge.named_modules():
        if isinstance(layer, torch.nn.Conv2d) and name not in ("first", "last"):
            judge.train()
            for _ in range(20):
                judge(picture)
            assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2) == pytest.approx(1, abs=0.05)
    with pytest.raises(UsageError, match="multiple of 8"):
        judge(torch.rand(1, 3, 30, 32))


def test_r1_of_many_logits_is_that_of_their_mean():
    judge, hr = UNetDiscriminator(features=4).eval(), torch.rand(3, 3, CROP, CROP)
    slopes = []
    for one in hr:
        one = one[None].clone().requires_grad_()
        judge(one).mean().backward()
        slopes.append(one.grad.square().sum() / 2)
    judge.zero_grad()
    penalty = gradient_penalty.r1(judge, hr)
    assert penalty.item() == pytest.approx(torch.stack(slopes).mean().item(), rel=1e-4)
    penalty.backward()
    assert judge.down[0].parametrizations.weight.original.grad.abs().sum() > 0, "it reaches the weights"


def test_the_keys_choose_kind_and_width(tmp_path):
    assert isinstance(build.module(composed(tmp_path)).discriminator, Discriminator)
    module = build.module(composed(tmp_path, "discriminator=unet", "discriminator.features=6"))
    assert isinstance(module.discriminator, UNetDiscriminator)
    assert module.discriminator.first.out_channels == 6
    mine = build.module(composed(tmp_path, *own("Patches"), "+discriminator.network.width=5"))
    assert type(mine.discriminator).__name__ == "Patches"
    assert mine.discriminator.layers[0].out_channels == 5


def test_what_is_no_discriminator_is_refused_before_the_run(tmp_path):
    def refused(*overrides):
        config = dataclasses.replace(composed(tmp_path, *overrides), init_from="srresnet-fast")
        with pytest.raises(UsageError) as error:
            check(config)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "Did you mean unet?" in refused("discriminator.name=unt")
    assert "multiple of 8; try data.crop=24" in refused("discriminator=unet", "data.crop=20")
    assert "discriminator.network._target_=my_package.MyPart" in refused("discriminator=own")
    assert "gives () for two crops" in refused(*own("OneForAll"))
    assert "no torch.nn.Module" in refused(*own("blind"), "+discriminator.network._partial_=true")
    assert "fails on two crops (2, 3, 16, 16) (UsageError" in refused(
        "discriminator=own", "+discriminator.network.crop=32",
        "+discriminator.network._target_=srgan_lit.networks.discriminator.Discriminator",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["srgan", "unet"])
def test_a_checkpoint_builds_its_discriminator_again(tmp_path, kind):
    module = make(plan(adversarial=1), discriminator=MAKE[kind]())
    fit(module, tmp_path).save_checkpoint(tmp_path / "run.ckpt")
    perceptual = module.perceptual
    again = SRGANModule.load_from_checkpoint(tmp_path / "run.ckpt", perceptual=perceptual)
    assert type(again.discriminator) is type(module.discriminator)
    assert same(again.discriminator, snapshot(module.discriminator))
    # Of a class of one's own nothing is imported: it is given.
    mine = make(plan(adversarial=1), discriminator=Patches())
    fit(mine, tmp_path).save_checkpoint(tmp_path / "mine.ckpt")
    given = SRGANModule.load_from_checkpoint(tmp_path / "mine.ckpt", perceptual=perceptual, discriminator=Patches())
    assert same(given.discriminator, snapshot(mine.discriminator))


def test_a_checkpoint_from_before_there_were_kinds_is_one_of_srgan(tmp_path):
    module = make(plan(adversarial=1), discriminator=Discriminator(crop=CROP, normalisation="spectral"))
    fit(module, tmp_path).save_checkpoint(tmp_path / "old.ckpt")
    old = torch.load(tmp_path / "old.ckpt", weights_only=True)
    del old["discriminator_network"]
    old["hyper_parameters"]["normalisation"] = old["hyper_parameters"].pop("discriminator")["normalisation"]
    torch.save(old, tmp_path / "old.ckpt")
    again = SRGANModule.load_from_checkpoint(tmp_path / "old.ckpt", perceptual=module.perceptual)
    assert same(again.discriminator, snapshot(module.discriminator))
    start = (f"init_discriminator_from={tmp_path / 'old.ckpt'}", "discriminator.normalisation=spectral")
    assert same(build.module(composed(tmp_path, *start)).discriminator, snapshot(module.discriminator))


def test_a_discriminator_of_another_kind_is_no_start(tmp_path):
    fit(make(plan(adversarial=1), discriminator=MAKE["unet"]()), tmp_path).save_checkpoint(tmp_path / "unet.ckpt")
    start = f"init_discriminator_from={tmp_path / 'unet.ckpt'}"
    with pytest.raises(
        SRGANError, match="is a unet, this training's a srgan; set discriminator=unet, or leave"
    ) as error:
        build.module(composed(tmp_path, start))
    assert "\n" not in str(error.value)
    with pytest.raises(SRGANError, match=r"data\.crop and discriminator\.features must be"):
        build.module(composed(tmp_path, start, "discriminator=unet", "discriminator.features=8"))
    same_kind = build.module(composed(tmp_path, start, "discriminator=unet", "discriminator.features=4"))
    assert discriminators.name_of(same_kind.discriminator) == "unet"
    with pytest.raises(SRGANError, match="Patches; set discriminator=unet"):
        build.module(composed(tmp_path, start, *own("Patches")))


def test_recorded_iterations_of_the_unet_learn_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded_iterations, "possible", lambda device: True)
    monkeypatch.setattr(recorded_iterations, "record", tape.record)
    learned = []
    for recorded in (False, True):
        torch.manual_seed(1)
        module = make(plan(adversarial=8, r1=1.0, r1_every=1), discriminator=MAKE["unet"](), ema=0.9)
        module.cuda_graph = recorded
        tape.recordings.clear()
        fit(module, tmp_path / str(recorded), val_check_interval=5)
        assert bool(tape.recordings) == recorded
        learned.append(snapshot(module.discriminator))
    assert all(torch.allclose(one, learned[1][name], rtol=1e-4, atol=1e-5) for name, one in learned[0].items())
