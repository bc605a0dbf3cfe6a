"""Upsampling by repeated pixels: what repeating and convolving gives, without a checkerboard, wherever a model goes."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from helpers.configurations import tiny
from srgan_lit import convert, export
from srgan_lit.benchmarking import textbook
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import ModelConfig
from srgan_lit.model_files import generator_file
from srgan_lit.networks import architectures, initialisation
from srgan_lit.networks.srresnet import Generator, RepeatedConv
from srgan_lit.training import build
from srgan_lit.training.module import SRGANModule
from srgan_lit.upscaling import tiling
from srgan_lit.upscaling.fast_generator import FastGenerator


def nearest(*, blocks=1, features=8, seed=0, **shape):
    torch.manual_seed(seed)
    made = Generator(blocks=blocks, features=features, upsampling="nearest", **shape).eval()
    for name, buffer in made.named_buffers():  # statistics as after a training
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    return made


def test_its_convolution_is_that_of_repeated_pixels_with_its_gradients():
    conv, x = RepeatedConv(5).double(), torch.rand(2, 5, 7, 4, dtype=torch.float64, requires_grad=True)
    ours = F.pixel_shuffle(conv(x), 2)
    plain = F.conv2d(F.interpolate(x, scale_factor=2), conv.weight, conv.bias, padding=1)
    assert torch.allclose(ours, plain, atol=1e-12)
    toward = torch.rand_like(plain)
    for one, other in zip(
        torch.autograd.grad(ours, [conv.weight, conv.bias, x], toward, retain_graph=True),
        torch.autograd.grad(plain, [conv.weight, conv.bias, x], toward),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_fast_generator_and_tiles_give_the_same(scale):
    generator, lr = nearest(scale=scale), torch.rand(1, 3, 45, 37)
    with torch.no_grad():
        sr = generator(lr)
        assert torch.allclose(textbook.forward(generator, lr), sr, atol=1e-5)
        fast = FastGenerator(generator)
        assert torch.allclose(fast(lr), sr, atol=1e-5)
        halo = int(generator.receptive_radius + 0.5)
        tiled = tiling.tiled(fast, lr, scale=scale, tile=16, halo=halo)
        assert torch.allclose(tiled, sr, atol=1e-5)
    changed = lr.clone()
    changed[..., 20, 18] += 0.5
    rows = (generator(changed) - sr).abs().amax(dim=(0, 1, 3)).nonzero()
    reach = generator.receptive_radius * scale
    assert rows.min() >= 20 * scale - reach
    assert rows.max() <= 21 * scale + reach


def test_whatever_its_weights_a_flat_picture_has_no_checkerboard():
    flat = torch.full((1, 3, 40, 40), 0.4)
    with torch.no_grad():
        grids = []
        for upsampling in ("pixelshuffle", "nearest"):
            torch.manual_seed(0)
            generator = Generator(blocks=1, features=16, upsampling=upsampling).eval()
            grids.append(generator(flat)[..., 64:-64, 64:-64].std(dim=(-2, -1)).max())
    assert grids[0] > 0.01
    assert grids[1] < 1e-6


def test_a_file_says_it_and_the_papers_says_what_it_always_said(tmp_path):
    generator = nearest()
    generator_file.save_generator(tmp_path / "nearest.safetensors", generator)
    loaded = generator_file.load_generator(tmp_path / "nearest.safetensors")
    lr = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        assert torch.allclose(loaded(lr), generator(lr), atol=1e-6)
    assert generator_file.read_metadata(tmp_path / "nearest.safetensors").architecture["upsampling"] == "nearest"
    generator_file.save_generator(tmp_path / "paper.safetensors", Generator(blocks=1, features=8))
    with safe_open(tmp_path / "paper.safetensors", framework="pt") as opened:
        assert json.loads(opened.metadata()["architecture"]) == {
            "blocks": 1, "features": 8, "scale": 4, "tail_kernel": 9, "prelu_width": 1,
        }  # fmt: skip
    generator.upsampling = "linear"
    generator_file.save_generator(tmp_path / "unknown.safetensors", generator)
    with pytest.raises(SRGANError, match=r"upsampling must be one of pixelshuffle, nearest, not linear"):
        generator_file.load_generator(tmp_path / "unknown.safetensors")


def test_a_checkpoint_builds_it_again():
    shape = {"blocks": 1, "features": 8, "upsampling": "nearest"}
    module = SRGANModule(generator=shape, phase={"pretrain": {"iterations": 1}})
    again = SRGANModule(**dict(module.hparams))
    assert again.generator.upsampling == "nearest"
    again.load_state_dict(module.state_dict())


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".pth"])
def test_every_export_computes_the_same(tmp_path, suffix):
    """The command compares the outputs itself, and writes nothing where they differ."""
    generator_file.save_generator(tmp_path / "ours.safetensors", nearest(prelu_width=8))
    assert export.main([str(tmp_path / "ours.safetensors"), "-o", str(tmp_path / f"theirs{suffix}")]) == 0
    if suffix == ".pth":
        assert convert.main([str(tmp_path / "theirs.pth"), "-o", str(tmp_path / "back.safetensors")]) == 0
        ours, back = (load_file(tmp_path / f"{name}.safetensors") for name in ("ours", "back"))
        assert all(torch.equal(ours[name], back[name]) for name in ours | back)
    if suffix == ".onnx":
        import onnx

        written = onnx.load(tmp_path / "theirs.onnx")
        operators = {node.op_type for node in written.graph.node}
        assert operators <= {"Conv", "PRelu", "Add", "DepthToSpace", "LeakyRelu", "Reshape"}, (
            "no weight is put together"
        )


def test_a_generator_goes_on_with_the_other_upsampling():
    repeats, lr = nearest(blocks=2), torch.rand(1, 3, 12, 9)
    shuffles = Generator(blocks=2, features=8)
    initialisation.grow_(shuffles, repeats)
    back = Generator(blocks=3, features=8, upsampling="nearest")
    initialisation.grow_(back, shuffles.eval())
    with torch.no_grad():
        assert torch.allclose(shuffles(lr), repeats(lr), atol=1e-5)
        assert torch.allclose(back.eval()(lr), repeats(lr), atol=1e-5)
        # A shuffle of patterns cannot be repeated; what comes nearest is nearer than a fresh start.
        torch.manual_seed(3)
        patterned, fresh = Generator(blocks=2, features=8).eval(), nearest(blocks=2, seed=4)
        near = Generator(blocks=2, features=8, upsampling="nearest")
        initialisation.grow_(near, patterned)
        assert F.mse_loss(near.eval()(lr), patterned(lr)) < F.mse_loss(fresh(lr), patterned(lr))


def test_a_run_from_the_other_upsampling_is_refused_or_grown(tmp_path):
    torch.manual_seed(0)
    start = Generator(blocks=1, features=8).eval()
    generator_file.save_generator(tmp_path / "start.safetensors", start)
    shape = ("model.blocks=1", "model.features=8", "model.upsampling=nearest")
    overrides = (*shape, f"init_from={tmp_path / 'start.safetensors'}")
    with pytest.raises(UsageError, match=r"another shape than model; add model\.upsampling=pixelshuffle"):
        build.generator(tiny(tmp_path, *overrides))
    grown = build.generator(tiny(tmp_path, *overrides, "model.start=grown"))
    assert torch.equal(grown.state_dict()["trunk.0.conv1.weight"], start.state_dict()["trunk.0.conv1.weight"])
    generator_file.save_generator(tmp_path / "start.safetensors", grown)
    assert build.generator(tiny(tmp_path, *overrides)).upsampling == "nearest"


def test_a_grown_run_is_gone_on_with_by_its_checkpoint(tmp_path):
    """Where a run is resumed, init_from is not read again: the networks are made, and filled from the checkpoint."""
    config = tiny(tmp_path, "model.upsampling=nearest", "model.start=grown", "discriminator=unet", "init_from=null")
    shapes = build.shapes(config)
    assert shapes["generator.upsample.0.conv.weight"] == (8, 8, 3, 3)
    assert "discriminator.down.0.parametrizations.weight.original" in shapes


def built(**options):
    return architectures.build(ModelConfig(blocks=1, features=8, **options))


def test_an_interpolation_is_the_same_one_and_icnr_is_refused():
    lr = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        one, other = (built(start="interpolation", upsampling=each).eval()(lr) for each in ("pixelshuffle", "nearest"))
    assert torch.allclose(one, other, atol=1e-6)
    with pytest.raises(UsageError, match="nearest repeats pixels anyway"):
        built(start="icnr", upsampling="nearest")
