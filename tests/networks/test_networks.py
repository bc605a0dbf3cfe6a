"""The networks against figure 4 of the paper, and what changes them without changing what they compute."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srgan_lit.data.sets import SAMPLE
from srgan_lit.networks import srresnet
from srgan_lit.networks.discriminator import Discriminator, frozen
from srgan_lit.networks.initialisation import grow_, icnr_, interpolation_
from srgan_lit.networks.srresnet import Generator, fold_batchnorm_
from srgan_lit.pictures import bicubic, tensors
from srgan_lit.pictures.rgb8 import read_picture


@pytest.fixture
def many_threads():
    """More than there are processors, so that the order in which they come changes."""
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


def randomised(generator: Generator) -> Generator:
    """With BatchNorm statistics that are not 0 and 1, so that a wrong use of them shows."""
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return generator.eval()


@pytest.mark.parametrize("blocks", [5, 16])
def test_generator_has_the_layers_of_figure_4(blocks):
    generator = Generator(blocks=blocks)
    convolutions = [m for m in generator.modules() if isinstance(m, nn.Conv2d)]
    shapes = [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convolutions]
    assert shapes == [
        (3, 64, 9, 1),  # k9n64s1
        *[(64, 64, 3, 1)] * (2 * blocks),  # k3n64s1, twice a block
        (64, 64, 3, 1),
        *[(64, 256, 3, 1)] * 2,  # k3n256s1
        (64, 3, 9, 1),  # k9n3s1
    ]
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    prelus = [m for m in generator.modules() if isinstance(m, nn.PReLU)]
    assert len(norms) == 2 * blocks + 1
    assert len(prelus) == 1 + blocks + 2
    by_hand = (
        (3 * 81 + 1) * 64 + 1  # head and its PReLU
        + blocks * (2 * 64 * 64 * 9 + 2 * 128 + 1)  # two convolutions, two BatchNorms, one PReLU
        + 64 * 64 * 9 + 128
        + 2 * ((64 * 9 + 1) * 256 + 1)
        + (64 * 81 + 1) * 3
    )  # fmt: skip
    assert sum(p.numel() for p in generator.parameters()) == by_hand


def test_discriminator_has_the_layers_of_figure_4():
    discriminator = Discriminator(crop=96)
    shapes = [
        (c.out_channels, c.kernel_size[0], c.stride[0]) for c in discriminator.features if isinstance(c, nn.Conv2d)
    ]
    expected = [(64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2)]
    assert shapes == [(channels, 3, stride) for channels, stride in expected]
    assert not isinstance(discriminator.features[1], nn.BatchNorm2d), "no BatchNorm on the first layer"
    assert sum(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules()) == 7
    dense = [(m.in_features, m.out_features) for m in discriminator.modules() if isinstance(m, nn.Linear)]
    assert dense == [(512 * 6 * 6, 1024), (1024, 1)]
    assert all(m.negative_slope == 0.2 for m in discriminator.modules() if isinstance(m, nn.LeakyReLU))
    logits = discriminator(torch.rand(2, 3, 96, 96) * 40)
    assert logits.shape == (2, 1)
    assert not any(isinstance(m, nn.Sigmoid) for m in discriminator.modules())


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_generator_enlarges_by_its_scale_at_any_size(scale):
    generator = Generator(blocks=1, features=8, scale=scale).eval()
    assert generator(torch.rand(1, 3, 5, 7)).shape == (1, 3, 5 * scale, 7 * scale)


@pytest.mark.parametrize("wrong", [{"scale": 3}, {"blocks": 0}, {"tail_kernel": 8}, {"prelu_width": 7}])
def test_generator_refuses(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Generator(**wrong)


@pytest.mark.parametrize(("blocks", "scale"), [(5, 4), (16, 4), (2, 2), (1, 8)])
def test_receptive_radius_is_how_far_a_pixel_reaches(blocks, scale):
    """Seen through the gradient: zero beyond the radius rounded up to whole LR pixels, and not before."""
    generator = randomised(Generator(blocks=blocks, features=2, scale=scale))
    radius = generator.receptive_radius
    if scale == 4:
        assert radius == {5: 17.5, 16: 39.5}[blocks]
    side = 2 * int(radius + 3) + 1
    lr = torch.rand(1, 3, side, side, requires_grad=True)
    sr = generator(lr)
    middle = side // 2
    sr[..., middle * scale, middle * scale].sum().backward()
    reached = lr.grad.abs().sum(dim=(0, 1)).nonzero()
    furthest = (reached - middle).abs().max().item()
    assert furthest == math.ceil(radius)


def test_icnr_starts_without_checkerboard():
    torch.manual_seed(0)
    generator = Generator(blocks=1, features=8)
    icnr_(generator)
    stage = generator.upsample[0]
    shuffled = stage.shuffle(stage.conv(torch.rand(1, 8, 6, 6)))
    cells = shuffled.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)  # the four pixels of each LR pixel
    torch.testing.assert_close(cells, cells[..., :1].expand_as(cells))


@pytest.mark.parametrize(("scale", "tail"), [(2, 9), (4, 9), (8, 9), (4, 3)])
def test_a_start_as_interpolation_is_one(scale, tail):
    torch.manual_seed(0)
    generator = Generator(blocks=2, scale=scale, tail_kernel=tail).eval()
    interpolation_(generator)
    photo = bicubic.crop_to_multiple(read_picture(SAMPLE / "test" / "chelsea.png").pixels, 8)
    lr = bicubic.shrink(photo, scale)
    with torch.no_grad():
        sr = tensors.to_pixels(generator(tensors.from_pixels(lr)))

    def error(made):
        inside = np.s_[16:-16, 16:-16]
        return np.square(made[inside].astype(float) - photo[inside]).mean()

    repeated = lr.repeat(scale, axis=0).repeat(scale, axis=1)
    assert error(sr) < error(repeated)
    if tail == 9 and scale <= 4:
        assert error(sr) < 1.1 * error(bicubic.enlarge(lr, scale))


def test_a_start_as_interpolation_learns_in_every_weight():
    torch.manual_seed(0)
    generator = Generator(blocks=2, features=8)
    interpolation_(generator)
    adam = torch.optim.Adam(generator.parameters(), lr=1e-3)
    before = [p.detach().clone() for p in generator.parameters()]
    for _ in range(3):
        adam.zero_grad()
        generator(torch.rand(2, 3, 8, 8)).square().mean().backward()
        adam.step()
    assert all((p != b).any() for p, b in zip(generator.parameters(), before, strict=True))
    with pytest.raises(ValueError, match="three channels"):
        interpolation_(Generator(blocks=1, features=2))


@pytest.mark.long
def test_gradients_are_the_same_bits_in_whichever_order_threads_come(many_threads):
    torch.manual_seed(0)
    generator, lr, hr = Generator(blocks=1), torch.rand(2, 3, 12, 12), torch.rand(2, 3, 48, 48)
    found = [torch.autograd.grad(F.l1_loss(generator(lr), hr), list(generator.parameters())) for _ in range(30)]
    for name, *each in zip(dict(generator.named_parameters()), *found, strict=True):
        assert all(torch.equal(each[0], other) for other in each), name


def test_folding_batchnorm_computes_the_same():
    generator = randomised(Generator(blocks=3, features=8))
    lr = torch.rand(1, 3, 12, 10)
    with torch.no_grad():
        before = generator(lr)
        after = fold_batchnorm_(generator)(lr)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in generator.modules())
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


def test_folding_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="eval"):
        fold_batchnorm_(Generator(blocks=1, features=8))


def test_frozen_discriminator_passes_gradients_and_keeps_every_bit():
    discriminator = Discriminator(crop=16)
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    image = torch.rand(4, 3, 16, 16, requires_grad=True)
    with frozen(discriminator):
        discriminator(image).sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())
    discriminator(image).sum().backward()
    assert all(p.grad is not None for p in discriminator.parameters()), "thawed again"
    assert not torch.equal(discriminator.state_dict()["features.3.running_mean"], before["features.3.running_mean"])


def test_frozen_discriminator_normalises_by_the_batch_as_in_training():
    torch.manual_seed(0)
    discriminator = Discriminator(crop=16)
    image = torch.rand(4, 3, 16, 16)
    with frozen(discriminator):
        inside = discriminator(image)
    torch.testing.assert_close(inside, discriminator(image))


@pytest.mark.parametrize(("few", "many"), [(1, 2), (2, 5), (5, 16)])
def test_a_grown_generator_computes_the_same_and_learns_in_its_new_blocks(few, many):
    torch.manual_seed(0)
    smaller, larger = randomised(Generator(blocks=few, features=4)), Generator(blocks=many, features=4).eval()
    lr = torch.rand(1, 3, 9, 8)
    grow_(larger, smaller)
    torch.testing.assert_close(larger(lr), smaller(lr), atol=1e-5, rtol=0)
    larger.train()(lr).sum().backward()
    assert all(block.norm2.weight.grad.abs().sum() > 0 for block in larger.trunk)


def test_a_generator_grows_in_blocks_alone():
    with pytest.raises(ValueError, match="cannot grow"):
        grow_(Generator(blocks=2, features=4), Generator(blocks=2, features=4))
    with pytest.raises(ValueError, match="only the blocks"):
        grow_(Generator(blocks=2, features=4), Generator(blocks=1, features=8))


def test_shuffling_keeps_channels_last_where_torchs_own_does_not():
    x = torch.rand(2, 32, 5, 7).contiguous(memory_format=torch.channels_last)
    assert torch.equal(srresnet.shuffled(x), torch.nn.functional.pixel_shuffle(x, 2))
    assert srresnet.shuffled(x).is_contiguous(memory_format=torch.channels_last)
    stage = srresnet.UpsampleStage(8).to("meta", memory_format=torch.channels_last)  # any device but the processor
    x = torch.rand(2, 8, 5, 7, device="meta").contiguous(memory_format=torch.channels_last)
    assert stage(x).shape == (2, 8, 10, 14)
    assert stage(x).is_contiguous(memory_format=torch.channels_last)
