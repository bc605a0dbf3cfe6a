"""What the degradations draw: the published settings, how strong each step is, and what a seed has always given."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from helpers.configurations import once
from helpers.tiny_runs import TINY
from srgan_lit.config.composition import CONF, configuration
from srgan_lit.data import degradations, samples, second_order, sets
from srgan_lit.data.degradations import Part, degraded
from srgan_lit.pictures import bicubic, rgb8
from srgan_lit.training import build

HR = rgb8.read_picture(sets.SAMPLE / "test" / "chelsea.png").pixels
LR = bicubic.shrink(HR, 4)
RECORDED = Path(__file__).with_name("degradations_by_seed.json")
SEEDS = range(24)
DRAWN = ("blur_noise", "everyday", "jpeg", "mild", "mixed", "real", "second_order")
BOX = (10, 21, 24, 17)


def rng(seed):
    return np.random.default_rng(seed)


def made(kind, seed):
    top, left, height, width = BOX
    part = Part(hr=HR, box=BOX, lr=LR[top : top + height, left : left + width], scale=4)
    return degraded(part, kind=kind, rng=rng(seed)).astype(float)


def probes(kind):
    """Of each seed the means of twelve squares: a codec of another version moves them by less than half a level."""
    pictures = [made(kind, seed)[:24, :16].reshape(3, 8, 4, 4, 3).mean(axis=(1, 3)) for seed in SEEDS]
    return [[round(float(v), 2) for v in each.ravel()] for each in pictures]


@pytest.mark.parametrize("kind", DRAWN)
def test_a_seed_gives_the_picture_that_it_gave(kind):
    """Runs are repeated, and scores of degraded pictures compared, from one version to the next."""
    recorded = json.loads(RECORDED.read_text())[kind]
    for seed, (now, then) in enumerate(zip(probes(kind), recorded, strict=True)):
        assert now == pytest.approx(then, abs=0.6), seed


def test_the_settings_are_those_of_real_esrgan():
    first, second = second_order.FIRST, second_order.SECOND
    assert (first.blurred, first.sigma, first.resized) == (1.0, (0.2, 3.0), (0.15, 1.5))
    assert (first.larger, first.smaller) == (0.2, 0.7)
    assert (first.noise, first.shot, first.quality) == ((1, 30), (0.05, 3.0), (30, 95))
    assert (second.blurred, second.sigma, second.resized) == (0.8, (0.2, 1.5), (0.3, 1.2))
    assert (second.larger, second.smaller) == (0.3, 0.4)
    assert (second.noise, second.shot, second.quality) == ((1, 25), (0.05, 2.5), (30, 95))
    assert (second_order.SINC, second_order.LAST_SINC, second_order.GREY_NOISE) == (0.1, 0.8, 0.4)
    assert list(second_order.KERNELS.values()) == [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
    assert (second_order.GENERALISED, second_order.PLATEAU) == ((0.5, 4.0), (1.0, 2.0))
    assert (degradations.BLUR_SIGMA, degradations.NOISE_SIGMA) == ((0.2, 3.0), (1.0, 30.0))
    assert (degradations.SHOT_SCALE, degradations.GREY_NOISE) == ((0.05, 3.0), 0.4)
    assert degradations.JPEG_QUALITY == (30, 95)


def test_half_the_strength_is_half_the_noise_of_either_kind():
    flat = np.full((64, 64, 3), 128, dtype=np.uint8)
    for seed in range(20):
        whole, half = (degradations.noisy(flat, rng(seed), strength).astype(float).std() for strength in (1.0, 0.5))
        assert half == pytest.approx(whole / 2, abs=0.25), seed


def test_the_blur_is_as_wide_as_was_drawn():
    """The kernel's covariance has the squares of the two deviations for eigenvalues."""
    at, tried = np.arange(-10, 11), 0
    for seed in range(60):
        sigmas = rng(seed).uniform(0.2, 3.0, size=2)
        if sigmas.min() < 0.8 or sigmas.max() > 2.8:  # a grid shows no narrower ones, and its end cuts wider ones
            continue
        kernel = degradations.blur_kernel(rng(seed))
        rows, columns = np.meshgrid(at, at, indexing="ij")
        cross = (kernel * rows * columns).sum()
        found = np.linalg.eigvalsh([[(kernel * rows**2).sum(), cross], [cross, (kernel * columns**2).sum()]])
        assert np.sqrt(found) == pytest.approx(sorted(sigmas), rel=0.03)
        tried += 1
    assert tried > 10


@pytest.mark.parametrize("sigma", [0.9, 2.0])
def test_the_blur_of_the_second_order_is_as_wide_too(sigma, monkeypatch):
    monkeypatch.setattr(second_order, "KERNELS", {("gaussian", False): 1.0})
    monkeypatch.setattr(second_order, "SINC", 0.0)
    order = second_order.Order(
        blurred=1, sigma=(sigma, sigma), resized=(1, 1), larger=0, smaller=0, noise=(0, 0), shot=(0, 0), quality=(1, 1)
    )
    kernel = next(k for seed in range(99) if len(k := second_order.blur_kernel(order, rng(seed))) == 21)
    at = torch.arange(-10, 11)
    assert (kernel.sum(0) * at**2).sum().sqrt().item() == pytest.approx(sigma, rel=0.03)
    assert (kernel.sum(1) * at**2).sum().sqrt().item() == pytest.approx(sigma, rel=0.03)


def test_everyday_saves_some_a_second_time(monkeypatch):
    for name in ("BLURRED", "NOISY", "COMPRESSED"):
        monkeypatch.setattr(degradations, name, 0.0)
    monkeypatch.setattr(degradations, "TWICE_RESIZE", (1.0, 1.0))
    monkeypatch.setattr(degradations, "EVERYDAY_QUALITY", (20, 20))
    monkeypatch.setattr(degradations, "_resized", lambda pixels, scale, how: bicubic.shrink(pixels, scale))
    part = Part(hr=HR, box=(0, 0, *LR.shape[:2]), lr=LR, scale=4)
    for share, expected in ((0.0, LR), (1.0, degradations.compressed(LR, 20))):
        monkeypatch.setattr(degradations, "TWICE", share)
        assert np.array_equal(degraded(part, kind="everyday", rng=rng(0)), expected)


def test_each_sample_is_degraded_by_a_seed_of_its_own(tmp_path):
    """Twice the same place of the same picture, and another degradation each time."""

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=list(once((*TINY, "phase=pretrain", "data.degradation=noise_jpeg70"))))
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(tmp_path)
    data = build.datamodule(configuration(cfg))
    data.setup()
    crops = data.train_dataloader().dataset
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "_draw", lambda seed, position: (0, 0, 0))
        one, other, again = (crops[[(position, 0)]] for position in (0, 1, 0))
    assert torch.equal(one["hr"], other["hr"])
    assert torch.equal(one["lr"], again["lr"])
    assert not torch.equal(one["lr"], other["lr"])


def test_what_is_degraded_cannot_be_changed_meanwhile():
    part = Part(hr=HR, box=BOX, lr=LR, scale=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.scale = 2
