"""Initial weights of a generator, other than torch's random ones."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srgan_lit.networks.srresnet import Generator, RepeatedConv, ResidualBlock, UpsampleStage
from srgan_lit.pictures import bicubic


@torch.no_grad()
def icnr_(generator: Generator) -> None:
    """Make each PixelShuffle stage start as nearest-neighbour upsampling of its (random) channels.

    The four filters that make one output channel's 2x2 cell start equal, which removes the checkerboard
    of a random start. Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution".

    Raises:
        ValueError: the generator repeats pixels, whatever its weights.
    """
    if generator.upsampling != "pixelshuffle":
        raise ValueError("it is for model.upsampling=pixelshuffle, and nearest repeats pixels anyway")
    for stage in generator.upsample:
        assert isinstance(stage, UpsampleStage)
        assert stage.conv.bias is not None
        stage.conv.weight.copy_(stage.conv.weight[::4].repeat_interleave(4, dim=0))
        stage.conv.bias.copy_(stage.conv.bias[::4].repeat_interleave(4, dim=0))


@torch.no_grad()
def interpolation_(generator: Generator) -> None:
    """Make the whole generator start as an interpolation, so that it learns what interpolation lacks.

    Three channels carry the colours through, each repeated by the upsampling stages, and the last convolution smooths
    them: by the filter that, behind the repetition, is nearest to bicubic interpolation. The residual blocks start
    switched off (the scale of the last BatchNorm is 0); the other channels are those of ``icnr_``, or random where
    pixels are repeated anyway, and wait for the last convolution to take them up. A picture has no negative colours,
    which PReLU would change.

    Raises:
        ValueError: the generator has fewer than three channels.
    """
    if generator.features < 3:
        raise ValueError(f"three channels carry the colours; the generator has {generator.features}")
    shuffles = generator.upsampling == "pixelshuffle"
    if shuffles:
        icnr_(generator)
    head, tail, colours = generator.head[0], generator.tail, range(3)
    assert isinstance(head, torch.nn.Conv2d)
    for stage in generator.upsample:
        assert isinstance(stage, UpsampleStage)
        _pass_through(stage.conv, repeats=4 if shuffles else 1)
    _pass_through(head, repeats=1)
    torch.nn.init.zeros_(generator.trunk_norm.weight)
    torch.nn.init.zeros_(generator.trunk_norm.bias)
    filter_ = torch.from_numpy(_smoothing(generator.scale, generator.tail_kernel)).to(tail.weight)
    torch.nn.init.zeros_(tail.weight)
    for colour in colours:
        tail.weight[colour, colour] = filter_.outer(filter_)
    assert tail.bias is not None
    torch.nn.init.zeros_(tail.bias)


@torch.no_grad()
def grow_(generator: Generator, smaller: Generator) -> None:
    """Make ``generator`` compute what ``smaller`` does, which has no more residual blocks and is like it otherwise.

    The blocks of ``smaller`` are spread evenly among those of ``generator``, whose others begin switched off (the scale
    of their last BatchNorm is 0) and are random otherwise. Its upsampling may be another: one that repeats pixels
    begins as near as it can come to one that shuffles them, by least squares over the weights.

    Raises:
        ValueError: ``smaller`` has more blocks, or as many and nothing is to change, or another shape.
    """
    alike = smaller.upsampling == generator.upsampling
    if smaller.blocks > generator.blocks or (alike and smaller.blocks == generator.blocks):
        raise ValueError(f"a generator of {smaller.blocks} blocks cannot grow to {generator.blocks}")
    rest = {name: value for name, value in smaller.state_dict().items() if not name.startswith("trunk.")}
    if not alike:
        for number, stage in enumerate(smaller.upsample):
            assert isinstance(stage, UpsampleStage)
            found = stage.conv.of_phases() if isinstance(stage.conv, RepeatedConv) else _repeated(stage.conv)
            rest[f"upsample.{number}.conv.weight"], rest[f"upsample.{number}.conv.bias"] = found
    try:
        generator.load_state_dict(rest, strict=False)
    except RuntimeError as error:
        raise ValueError("only the blocks may differ") from error
    places = [block * generator.blocks // smaller.blocks for block in range(smaller.blocks)]
    for place, block in enumerate(generator.trunk):
        assert isinstance(block, ResidualBlock)
        torch.nn.init.zeros_(block.norm2.weight)
        if place in places:
            block.load_state_dict(smaller.trunk[places.index(place)].state_dict())


def _repeated(conv: torch.nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight (C, C, 3, 3) and bias (C,) of the ``RepeatedConv`` whose filters of the phases are nearest to those."""
    assert conv.bias is not None
    # Each direction by itself is a matrix from three taps to three in each of two phases, as in ``of_phases``.
    phases = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.float64)
    back = torch.linalg.pinv(phases)  # (3, 6)
    outputs, inputs = conv.out_channels // 4, conv.in_channels
    weight = conv.weight.double().view(outputs, 2, 2, inputs, 3, 3).permute(0, 3, 1, 4, 2, 5)  # (C, C, 2, 3, 2, 3)
    nearest = back @ weight.reshape(outputs, inputs, 6, 6) @ back.T
    return nearest.to(conv.weight), conv.bias.view(outputs, 4).mean(dim=1)


def _pass_through(conv: torch.nn.Conv2d, *, repeats: int) -> None:
    """Let the first three channels through as they are, each ``repeats`` times."""
    assert conv.bias is not None
    middle = conv.kernel_size[0] // 2
    conv.weight[: 3 * repeats] = 0
    conv.bias[: 3 * repeats] = 0
    for output in range(3 * repeats):
        conv.weight[output, output // repeats, middle, middle] = 1


def _smoothing(scale: int, length: int) -> NDArray[np.float64]:
    """The filter (length,), of sum 1, that behind repeating each pixel ``scale`` times is nearest to bicubic.

    Output pixel p is the sum over d of filter[d] x[(p + d - length//2) // scale]; the weight of each x is to be that of
    bicubic interpolation, in the least-squares sense.
    """
    pixels = 9 + 2 * length // scale
    wanted = np.zeros((pixels * scale, pixels))
    positions, weights = bicubic.taps(pixels, pixels * scale)
    np.add.at(wanted, (np.arange(pixels * scale)[:, None], positions), weights)
    rows = range(pixels // 2 * scale, (pixels // 2 + 1) * scale)  # one of each phase, far from the border
    made = np.zeros((scale, pixels, length))
    for at, row in enumerate(rows):
        for tap in range(length):
            made[at, (row + tap - length // 2) // scale, tap] += 1
    target = np.stack([wanted[row] for row in rows])
    filter_ = np.linalg.lstsq(made.reshape(-1, length), target.reshape(-1), rcond=None)[0]
    return filter_ / filter_.sum()
