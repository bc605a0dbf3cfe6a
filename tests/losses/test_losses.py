"""Every loss by hand-computed values, and that its gradient reaches the generator."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import PerceptualConfig
from srgan_lit.config.shipped import CONF, term_weights
from srgan_lit.losses import adversarial, pixel, terms
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import bicubic, bicubic_tensors


@pytest.fixture(scope="module")
def vgg():
    return vgg_features(backbone="vgg16", layer="2_2", weights="random")


def test_pixel_losses_by_hand():
    sr, hr = torch.tensor([0.0, 1.0]), torch.tensor([0.5, 1.0])
    assert pixel.pixel_loss(sr, hr, "mse").item() == pytest.approx(0.125)
    assert pixel.pixel_loss(sr, hr, "l1").item() == pytest.approx(0.25)
    charbonnier = (math.sqrt(0.25 + 1e-6) + math.sqrt(1e-6)) / 2
    assert pixel.pixel_loss(sr, hr, "charbonnier").item() == pytest.approx(charbonnier)
    with pytest.raises(ValueError, match="huber"):
        pixel.pixel_loss(sr, hr, "huber")


@pytest.mark.parametrize("kind", ["mse", "l1", "charbonnier"])
def test_pixel_losses_reach_the_generator(kind):
    generator = Generator(blocks=1, features=8)
    pixel.pixel_loss(generator(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 32, 32), kind).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.head.parameters())


def test_perceptual_loss_reaches_the_generator_and_not_vgg(vgg):
    generator = Generator(blocks=1, features=8)
    loss = PerceptualLoss(vgg)
    loss(generator(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 32, 32)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.head.parameters())
    assert all(p.grad is None for p in vgg.parameters())


def test_perceptual_loss_is_zero_only_for_equal_pictures(vgg):
    hr = torch.rand(1, 3, 32, 32)
    loss = PerceptualLoss(vgg)
    assert loss(hr, hr).item() == 0
    assert loss(hr * 0.9, hr).item() > 0


@pytest.mark.parametrize(
    ("backbone", "layer", "layers", "name"),
    [("vgg19", "5_4", 36, "VGG54"), ("vgg19", "2_2", 9, "VGG22"), ("vgg19", "54", 36, "VGG54"),
     ("vgg19", None, 36, "VGG54"), ("vgg16", None, 30, "VGG53"), ("vgg16", "2_2", 9, "VGG22")],
)  # fmt: skip
def test_vgg_layers_are_those_of_torchvision(backbone, layer, layers, name):
    """relu5_4 of VGG19 ends features[:36], relu2_2 features[:9]."""
    from torchvision.models.vgg import cfgs, make_layers

    made = vgg_features(backbone=backbone, layer=layer, weights="random")
    theirs = make_layers(cfgs[{"vgg16": "D", "vgg19": "E"}[backbone]])[:layers]
    assert made.name == name
    assert all(isinstance(ours, type(m)) for ours, m in zip(made.features, theirs, strict=True))
    assert {k: v.shape for k, v in made.features.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }


def test_vgg_features_are_normalised_relu_outputs_over_12_75(vgg):
    image = torch.rand(1, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    by_hand = vgg.features((image - mean) / std) / 12.75
    torch.testing.assert_close(vgg(image), by_hand)
    assert vgg(image).min() == 0, "after the ReLU"


@pytest.mark.parametrize(
    ("backbone", "layer"), [("vgg16", "5_4"), ("vgg19", "6_1"), ("vgg19", "2_3"), ("vgg18", "5_4")]
)
def test_unknown_layers_are_refused(backbone, layer):
    with pytest.raises(UsageError, match="perceptual"):
        vgg_features(backbone=backbone, layer=layer, weights="random")


@pytest.mark.parametrize("prefix", ["", "features."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_vgg_weights_from_a_file(vgg, tmp_path, prefix, suffix):
    tensors = {prefix + name: (value * 2).half().contiguous() for name, value in vgg.features.state_dict().items()}
    path = tmp_path / f"vgg{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    read = vgg_features(backbone="vgg16", layer="2_2", weights=str(path))
    for name, value in vgg.features.state_dict().items():
        torch.testing.assert_close(read.features.state_dict()[name], (value * 2).half().float())


def test_vgg_weights_that_do_not_fit_are_refused_by_name(vgg, tmp_path):
    tensors = {name: value.contiguous() for name, value in vgg.features.state_dict().items()}
    tensors["5.weight"] = tensors["5.weight"][:, :1].contiguous()
    save_file(tensors, tmp_path / "vgg.safetensors")
    with pytest.raises(SRGANError, match=r"features\.5\.weight"):
        vgg_features(backbone="vgg16", layer="2_2", weights=str(tmp_path / "vgg.safetensors"))
    with pytest.raises(UsageError, match="no such file"):
        vgg_features(weights=str(tmp_path / "absent.pth"))


def test_vgg_weights_in_a_pickle_are_not_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"0.weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(SRGANError, match="cannot be read"):
        vgg_features(backbone="vgg16", layer="2_2", weights=str(tmp_path / "bomb.pth"))
    assert not (tmp_path / "executed").exists()


def test_adversarial_losses_by_hand():
    real, generated = torch.tensor([[2.0], [1.0]]), torch.tensor([[-1.0], [0.5]])

    def log_sigmoid(*values):
        return [math.log(1 / (1 + math.exp(-v))) for v in values]

    # -log D(hr) - log(1 - D(sr)), the two terms of equation 2; and -log D(sr) of equation 6.
    d = -sum(log_sigmoid(2, 1)) / 2 - sum(log_sigmoid(1, -0.5)) / 2
    assert adversarial.discriminator_loss(real, generated).item() == pytest.approx(d)
    assert adversarial.generator_loss(generated).item() == pytest.approx(-sum(log_sigmoid(-1, 0.5)) / 2)

    # relativistic: real against the mean generated (-0.25), generated against the mean real (1.5)
    d = -sum(log_sigmoid(2.25, 1.25)) / 2 - sum(log_sigmoid(2.5, 1.0)) / 2
    g = -sum(log_sigmoid(-2.25, -1.25)) / 2 - sum(log_sigmoid(-2.5, -1.0)) / 2
    assert adversarial.discriminator_loss(real, generated, kind="relativistic").item() == pytest.approx(d)
    assert adversarial.generator_loss(generated, kind="relativistic", real=real).item() == pytest.approx(g)

    d = ((1 + 0) / 2 + (1 + 0.25) / 2) / 2
    assert adversarial.discriminator_loss(real, generated, kind="least_squares").item() == pytest.approx(d)
    assert adversarial.generator_loss(generated, kind="least_squares").item() == pytest.approx((4 + 0.25) / 2 / 2)

    assert adversarial.discriminator_loss(real, generated, kind="hinge").item() == pytest.approx(
        (0 + 0) / 2 + (0 + 1.5) / 2
    )
    assert adversarial.generator_loss(generated, kind="hinge").item() == pytest.approx(0.25)


def test_label_smoothing_lowers_the_target_of_real_crops_only():
    real, generated = torch.tensor([[2.0]]), torch.tensor([[-1.0]])
    smooth = adversarial.discriminator_loss(real, generated, smoothing=0.1)
    by_hand = F.binary_cross_entropy(real.sigmoid(), torch.tensor([[0.9]])) + F.binary_cross_entropy(
        generated.sigmoid(), torch.tensor([[0.0]])
    )
    torch.testing.assert_close(smooth, by_hand)


def test_conf_names_every_term_and_every_kind_of_game():
    assert set(term_weights()) == set(terms.TERMS)
    text = (CONF / "phase" / "adversarial.yaml").read_text()
    comment = re.search(r"  loss: standard +# (.*)", text)[1]
    assert set(adversarial.KINDS) <= set(re.findall(r"\w+", comment)), "how else would a reader know of it?"


@pytest.mark.parametrize("kind", adversarial.KINDS)
def test_adversarial_terms_pull_the_right_way(kind):
    """The generator wants higher logits on its crops; the discriminator wants the opposite."""
    real, generated = torch.zeros(4, 1, requires_grad=True), torch.zeros(4, 1, requires_grad=True)
    adversarial.generator_loss(generated, kind=kind, real=real).backward()
    assert (generated.grad < 0).all()
    generated.grad = real.grad = None
    adversarial.discriminator_loss(real, generated, kind=kind).backward()
    assert (real.grad < 0).all()
    if kind != "least_squares":  # at 0 its generated target is met
        assert (generated.grad > 0).all()


def test_adversarial_losses_refuse_what_they_cannot_do():
    logits = torch.zeros(1, 1)
    for call in (
        lambda: adversarial.generator_loss(logits, kind="relativistic"),
        lambda: adversarial.generator_loss(logits, kind="wasserstein"),
        lambda: adversarial.discriminator_loss(logits, logits, kind="hinge", smoothing=0.1),
    ):
        with pytest.raises(ValueError, match="phase"):
            call()


def test_losses_are_float32_for_bf16_inputs():
    half = torch.rand(1, 3, 8, 8).bfloat16()
    assert pixel.pixel_loss(half, half * 0.5, "mse").dtype == torch.float32
    assert adversarial.generator_loss(torch.zeros(2, 1).bfloat16()).dtype == torch.float32


def test_the_grid_loss_sees_a_grid_and_no_texture():
    torch.manual_seed(0)
    hr = torch.rand(2, 3, 48, 48)
    pattern = torch.rand(1, 3, 4, 4).tile(1, 1, 12, 12)
    noise = torch.rand(2, 3, 48, 48)
    assert pixel.grid_loss(hr, hr, 4) == 0
    assert pixel.grid_loss(hr + 0.3, hr, 4) == pytest.approx(0, abs=1e-9), "a shift of colour is no grid"
    expected = 0.01**2 * pattern[0, :, :4, :4].flatten(1).var(dim=1, correction=0).mean()
    assert pixel.grid_loss(hr + 0.01 * pattern, hr, 4) == pytest.approx(float(expected), rel=1e-3)
    grid, texture = (pixel.grid_loss(hr + 0.01 * added, hr, 4) for added in (pattern, noise))
    assert grid > 10 * texture
    error = (0.01 * noise).numpy().reshape(2, 3, 12, 4, 12, 4).transpose(0, 1, 3, 5, 2, 4).reshape(2, 3, 16, 12, 12)
    windows = [error[..., y : y + 6, x : x + 6].mean(axis=(-2, -1)) for y in (0, 3, 6) for x in (0, 3, 6)]
    assert texture.item() == pytest.approx(np.mean([means.var(axis=2).mean() for means in windows]), rel=1e-3)


def test_the_lr_loss_sees_a_shift_of_colour_and_no_texture():
    torch.manual_seed(0)
    hr = torch.rand(2, 3, 48, 48)
    noise = torch.randn(2, 3, 48, 48)
    assert pixel.lr_loss(hr, hr, 4) == 0
    assert pixel.lr_loss(hr + 0.01, hr, 4).item() == pytest.approx(1e-4, rel=1e-3), "a shift of colour is in LR whole"
    assert pixel.lr_loss(hr + 0.01 * noise, hr, 4) < 1e-5, "of noise bicubic leaves a tenth of the energy"
    pixels = [(255 * image).round().byte().permute(0, 2, 3, 1).numpy() for image in (hr, noise.clamp(0, 1))]
    small = [np.stack([bicubic.shrink(one, 4) for one in picture]).astype(float) / 255 for picture in pixels]
    given = (torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 255 for picture in pixels)
    assert pixel.lr_loss(*given, 4).item() == pytest.approx(((small[0] - small[1]) ** 2).mean(), rel=1e-2)


def test_the_lr_loss_learns_after_a_validation_has_shrunk_pictures():
    bicubic_tensors._kernel.cache_clear()
    with torch.inference_mode():
        bicubic_tensors.shrink(torch.rand(1, 3, 32, 32), 4)
    sr = torch.rand(1, 3, 32, 32, requires_grad=True)
    pixel.lr_loss(sr, torch.rand(1, 3, 32, 32), 4).backward()
    assert sr.grad.abs().sum() > 0


def test_the_lr_loss_is_not_rounded_in_mixed_precision():
    torch.manual_seed(0)
    sr, hr = torch.rand(1, 3, 32, 32, requires_grad=True), torch.rand(1, 3, 32, 32)
    plain = pixel.lr_loss(sr, hr, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = pixel.lr_loss(sr, hr, 4)
    assert mixed == plain
    gradient, mixed_gradient = (torch.autograd.grad(loss, sr)[0] for loss in (plain, mixed))
    assert torch.equal(gradient, mixed_gradient)


def test_several_layers_are_the_weighted_sum_of_their_distances():
    sr, hr = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    alone = {
        layer: PerceptualLoss(vgg_features(backbone="vgg16", layer=layer, weights="random"))(sr, hr).item()
        for layer in ("1_2", "2_2", "3_1")
    }
    deepest = vgg_features(backbone="vgg16", layer="3_1", weights="random")
    together = PerceptualLoss(deepest, {"1_2": 2.0, "3_1": 0.5})
    assert together(sr, hr).item() == pytest.approx(2 * alone["1_2"] + 0.5 * alone["3_1"], rel=1e-5)
    sr.requires_grad_()
    PerceptualLoss(deepest, {"2_2": 1.0})(sr, hr).backward()
    assert sr.grad.abs().sum() > 0
    with pytest.raises(KeyError):
        PerceptualLoss(deepest, {"5_3": 1.0})(sr, hr)


def test_layers_of_the_configuration_are_named_one_way_and_checked():
    config = PerceptualConfig(layers={"54": 0.5, "2_2": 1.0})
    assert config.weighted == {"2_2": 1.0, "5_4": 0.5}
    assert PerceptualConfig(backbone="vgg16").weighted == {"5_3": 1.0}
    for wrong in ({"layers": {"5_5": 1.0}}, {"layers": {"5_4": 1.0, "54": 1.0}}, {"layers": {}},
                  {"layer": "2_2", "layers": {"5_4": 1.0}}, {"layers": {"5_4": 0.0}}):  # fmt: skip
        with pytest.raises((UsageError, ValueError)):
            PerceptualConfig(**wrong)
