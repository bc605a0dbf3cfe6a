"""Terms that Real-ESRGAN and LDL have: features before activation, the artefact map, colours that stay."""

import pytest
import torch
import torch.nn.functional as F

from helpers.configurations import tiny
from helpers.tiny_training import fit, make, plan
from srgan_lit.common.errors import UsageError
from srgan_lit.config import combinations
from srgan_lit.losses import artefacts, pixel
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.vgg import FEATURE_SCALE


def pair(seed=0, side=40):
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(2, 3, side, side, generator=draw) for _ in range(2))


def test_features_before_activation_are_what_the_convolutions_give():
    image, _ = pair()
    vgg = vgg_features(backbone="vgg16", layer="2_2", before_activation=True, weights="random")
    maps = vgg.maps(image, ["1_1", "2_2"])
    x = (image - vgg.mean) / vgg.std
    first = F.conv2d(x, vgg.features[0].weight, vgg.features[0].bias, padding=1)
    assert torch.allclose(maps["1_1"], first * FEATURE_SCALE, atol=1e-5)
    after = vgg_features(backbone="vgg16", layer="2_2", weights="random")
    assert (maps["2_2"] < 0).any()
    assert torch.allclose(maps["2_2"].relu(), after(image), atol=1e-5)
    assert torch.equal(vgg(image), maps["2_2"])


def test_the_distance_of_features_may_be_absolute_and_reaches_sr():
    sr, hr = pair()
    vgg = vgg_features(backbone="vgg16", layer="1_2", before_activation=True, weights="random")
    sr.requires_grad_()
    loss = PerceptualLoss(vgg, {"1_1": 2.0, "1_2": 0.5}, kind="l1")(sr, hr)
    maps, targets = vgg.maps(sr, ["1_1", "1_2"]), vgg.maps(hr, ["1_1", "1_2"])
    by_hand = sum(w * (maps[n] - targets[n]).abs().mean() for n, w in (("1_1", 2.0), ("1_2", 0.5)))
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    loss.backward()
    assert sr.grad.abs().sum() > 0


def by_the_authors_formula(hr, sr, average, side=7):
    """Windows unfolded, variances by torch."""
    ours, theirs = ((hr - each).abs().sum(1, keepdim=True) for each in (sr, average))
    patch = torch.var(ours, dim=(-1, -2, -3), keepdim=True) ** (1 / 5)
    windows = F.pad(ours, [side // 2] * 4, mode="reflect").unfold(2, side, 1).unfold(3, side, 1)
    weight = patch * torch.var(windows, dim=(-1, -2))
    weight[ours < theirs] = 0
    return weight


def test_the_artefact_map_is_that_of_its_authors():
    (sr, hr), (average, _) = pair(0), pair(1)
    ours, theirs = artefacts.artefact_map(sr, hr, average), by_the_authors_formula(hr, sr, average)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert 0.2 < (ours > 0).float().mean() < 0.8
    sr.requires_grad_()
    loss = artefacts.artefact_loss(sr, hr, average)
    assert loss.item() == pytest.approx(F.l1_loss(theirs * sr, theirs * hr).item(), rel=1e-4)
    loss.backward()
    assert torch.allclose(sr.grad, theirs * (sr - hr).sign() / sr.numel(), atol=1e-9), "the map is a weight alone"


def test_colours_are_held_and_detail_is_free():
    _, hr = pair(side=64)
    checkers = torch.ones(64, 64)
    checkers[::2, ::2] = checkers[1::2, 1::2] = -1
    assert pixel.colour_loss(hr + 0.1 * checkers, hr, 4) < 1e-6
    drift = torch.tensor([2, 0, -1]).view(1, 3, 1, 1) / 255
    assert pixel.colour_loss(hr + drift, hr, 4).item() == pytest.approx(1 / 255, rel=1e-3)


def test_the_map_compares_with_the_moving_average(tmp_path):
    weights = {"artefacts": 1.0, "perceptual": 0.0, "adversarial": 0.0}
    module = make(plan(adversarial=3, weights=weights), ema=0.5)
    seen, averaged = [], module.averaged

    def watched(lr):
        before = {name: value.clone() for name, value in module.ema.state_dict().items()}
        found = averaged(lr)
        assert all(torch.equal(value, before[name]) for name, value in module.ema.state_dict().items())
        seen.append((found, module.generated(lr)))
        return found

    module.averaged = watched
    fit(module, tmp_path)
    assert len(seen) == 3
    assert torch.allclose(*seen[0], atol=1e-6), "before its first update the average is the generator"
    assert not torch.allclose(*seen[2], atol=1e-4)
    assert not any(found.requires_grad for found, _ in seen)
    with pytest.raises(UsageError, match="artefacts compares with a moving average"):
        make(plan(adversarial=1, weights=weights))


def test_what_the_terms_need_is_said(tmp_path):
    def refusal(*overrides):
        with pytest.raises(UsageError) as error:
            combinations.check(tiny(tmp_path, *overrides))
        return str(error.value)

    assert "set optimization.ema=0.999" in refusal("phase.weights.artefacts=1")
    assert "needs crops of 8 LR pixels: set data.crop=32" in refusal("phase.weights.colour=1", "data.crop=28")
