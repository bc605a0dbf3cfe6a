"""A generator rearranged to run faster, computing the same to rounding. For inference only.

Against ``Generator`` in ``eval()`` mode: every BatchNorm is folded into its convolution; PReLUs work in place;
pixels are not repeated before a convolution, but shuffled behind one that gives the same;
the last PixelShuffle moves behind the last convolution, which then has 12 output channels at half the
resolution instead of 3 at the full one (processors compute in groups of 8 or 16); and what follows the trunk
runs in small tiles, because its tensors are many times larger than the trunk's.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lit.model_files.generator_file import Ranged
from srgan_lit.networks.srresnet import (
    Generator,
    ResidualBlock,
    UpsampleStage,
    before_the_shuffle,
    fold_batchnorm_,
    with_plain_convolutions_,
)
from srgan_lit.upscaling import tiling

_INNER_TILE = 192  # trunk pixels a side: about 200 MB of tensors after it with 64 features


def _in_place(act: object, *, repeats: int = 1) -> nn.Module:
    """The same activation, overwriting its input where torch can; each channel's slope ``repeats`` times."""
    assert isinstance(act, nn.PReLU)
    if act.num_parameters == 1:
        return nn.LeakyReLU(act.weight.item(), inplace=True)
    repeated = nn.PReLU(act.num_parameters * repeats)
    repeated.weight.data = act.weight.detach().repeat_interleave(repeats)
    return repeated


def _tail(tail: nn.Conv2d) -> nn.Conv2d:
    """The last convolution as it runs before the shuffle."""
    weight = before_the_shuffle(tail.weight.detach())
    outputs, inputs, side, _ = weight.shape
    made = nn.Conv2d(inputs, outputs, side, padding=side // 2, device="meta")
    assert tail.bias is not None
    made.weight, made.bias = nn.Parameter(weight), nn.Parameter(tail.bias.detach().repeat_interleave(4))
    return made


class FastGenerator(nn.Module):
    """What ``Generator.forward`` computes, faster. (B, 3, h, w) to (B, 3, scale*h, scale*w), unclamped."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        generator = with_plain_convolutions_(fold_batchnorm_(copy.deepcopy(generator).eval()))
        self.scale, self.receptive_radius = generator.scale, generator.receptive_radius
        self.head, self.trunk, self.trunk_conv = generator.head, generator.trunk, generator.trunk_conv
        self.head[1] = _in_place(self.head[1])
        for block in self.trunk:
            block.act = _in_place(block.act)
        *stages, last = generator.upsample
        for stage in stages:
            stage.act = _in_place(stage.act)
        assert isinstance(last, UpsampleStage)
        self.stages = nn.Sequential(*stages, last.conv, _in_place(last.act, repeats=4))
        self.tail = _tail(generator.tail)
        # Input pixels that the stages and the tail can depend on: a 3x3 convolution at 1, 2, 4 times the
        # resolution, and the tail's own radius.
        radius = sum(0.5**stage for stage in range(len(generator.upsample))) + generator.tail_kernel // 2 / self.scale
        self.inner_halo = math.ceil(radius + 0.5)
        self.requires_grad_(False)

    def forward(self, lr: Tensor) -> Tensor:
        """Return ``sr`` (B, 3, scale*h, scale*w), unclamped, for ``lr`` (B, 3, h, w) in [0, 1]."""
        skip = self.head(lr)  # (B, C, h, w)
        x = skip
        for block in self.trunk:
            assert isinstance(block, ResidualBlock)
            x = block.conv2(block.act(block.conv1(x))).add_(x)
        x = self.trunk_conv(x).add_(skip)
        del skip
        return tiling.tiled(self._enlarge, x, scale=self.scale, tile=_INNER_TILE, halo=self.inner_halo)

    def _enlarge(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 3, scale*h, scale*w)."""
        x = self.stages(x)  # (B, 4C, H/2, W/2): the last stage is not shuffled yet
        return F.pixel_shuffle(self.tail(x), 2)


def accelerate(generator: Generator | Ranged, *, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A module for inference that computes what ``generator`` does, with weights in ``dtype``, channels_last.

    ``generator`` itself is left as it is. The module has its ``scale`` and ``receptive_radius``. Only a SRResNet is
    rearranged.
    """
    if not isinstance(generator.generator if isinstance(generator, Ranged) else generator, Generator):
        made: nn.Module = copy.deepcopy(generator).requires_grad_(False)
    elif isinstance(generator, Ranged):
        made = Ranged(
            FastGenerator(generator.generator),  # type: ignore[arg-type]
            input_range=generator.input_range,
            output_range=generator.output_range,
        )
    else:
        made = FastGenerator(generator)
    return made.eval().to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
