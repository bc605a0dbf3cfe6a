"""The generator: SRResNet (Ledig et al. 2017, figure 4), and nothing else.

No losses, no files, no clamping. Images are RGB in [0, 1]; the output is unclamped, because losses need
the gradient where it overshoots. Code that writes or scores it clamps.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lit.networks.prelu import PReLU, prelu
from srgan_lit.networks.winograd import Conv3x3

SCALES = (2, 4, 8)
UPSAMPLINGS = ("pixelshuffle", "nearest")


class ResidualBlock(nn.Module):
    """conv3 - BN - PReLU - conv3 - BN, added to its input. (B, C, h, w) in and out."""

    def __init__(self, features: int, *, prelu_width: int = 1) -> None:
        super().__init__()
        # No bias before a BatchNorm: its mean subtraction would cancel it.
        self.conv1 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(features)
        self.act = PReLU(prelu_width)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus its residual, same shape."""
        return x + self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))


class RepeatedConv(nn.Conv2d):
    """Each pixel repeated 2x2, and a 3x3 convolution of that: (B, C, h, w) -> (B, 4C, h, w), which is to be shuffled.

    So computed before the enlargement (``of_phases``), it is the convolution of an ``UpsampleStage`` whose four filters
    for the pixels of a 2x2 cell are parts of one: no cell can have a pattern of its own.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is to be shuffled."""
        return F.conv2d(x, *self.of_phases(), padding=1)

    def of_phases(self) -> tuple[Tensor, Tensor]:
        """The weight (4C, C, 3, 3) and bias (4C,) that give the same before the enlargement.

        Output pixel 2y + p reads repeated pixels 2y + p + d - 1 for d in 0 … 2, that is, input pixels y - 1, y, y for
        p = 0 and y, y, y + 1 for p = 1. Zero padding stays zero padding.
        """
        assert self.bias is not None
        weight = torch.stack([each for rows in _phases(self.weight, 2) for each in _phases(rows, 3)], 1)
        weight = weight.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return weight, self.bias.repeat_interleave(4)


def _phases(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The weights (C, C, 3, 3) of ``RepeatedConv.of_phases`` for both phases, in one of the two directions."""
    before, middle, after = weight.unbind(dim)
    nothing = torch.zeros_like(middle)
    return (
        torch.stack([before, middle + after, nothing], dim),
        torch.stack([nothing, before + middle, after], dim),
    )


class UpsampleStage(nn.Module):
    """conv3 to four times the channels, PixelShuffle by 2, PReLU. (B, C, h, w) -> (B, C, 2h, 2w).

    Or, with ``nearest``, each pixel repeated 2x2, conv3, PReLU: the same with another convolution (``RepeatedConv``).
    """

    def __init__(self, features: int, *, prelu_width: int = 1, nearest: bool = False) -> None:
        super().__init__()
        self.conv = RepeatedConv(features) if nearest else Conv3x3(features, 4 * features)
        self.shuffle = nn.PixelShuffle(2)
        self.act = PReLU(prelu_width)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` at twice the size."""
        x = self.conv(x)
        return self.act(self.shuffle(x) if x.device.type == "cpu" else shuffled(x))

    def unshuffled(self, x: Tensor) -> Tensor:
        """Return (B, 4C, h, w), whose PixelShuffle is ``forward(x)``: the activation looks at one value alone."""
        slopes = self.act.weight
        return prelu(self.conv(x), slopes if slopes.numel() == 1 else slopes.repeat_interleave(4))


def shuffled(x: Tensor) -> Tensor:
    """PixelShuffle(2) of (B, 4C, h, w), channels_last in and out, in one pass.

    torch's own returns contiguous tensors on a GPU, so that the largest ones would be transposed twice.
    """
    batch, channels, height, width = x.shape
    # As they lie in memory: (B, h, w, C, 2, 2) to (B, h, 2, w, 2, C).
    parts = x.permute(0, 2, 3, 1).reshape(batch, height, width, channels // 4, 2, 2).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(batch, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


class Tail(nn.Conv2d):
    """The last PixelShuffle and convolution: (B, 4C, h, w) -> (B, 3, 2h, 2w).

    On a processor it runs before the shuffle, as a convolution to 12 channels at half the resolution: processors
    compute 8 or 16 channels at once, of which the 3 at the full resolution would leave most idle.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of PixelShuffle(2) of ``x``, computed in the order that is faster here."""
        if x.device.type != "cpu" or torch.compiler.is_exporting() or torch.jit.is_tracing():
            return super().forward(F.pixel_shuffle(x, 2) if x.device.type == "cpu" else shuffled(x))
        assert self.bias is not None
        weight = before_the_shuffle(self.weight)
        return F.pixel_shuffle(F.conv2d(x, weight, self.bias.repeat_interleave(4), padding=weight.shape[-1] // 2), 2)


def before_the_shuffle(weight: Tensor) -> Tensor:
    """The weight (4·outputs, 4·inputs, m, m) that does before PixelShuffle(2) what ``weight`` does behind it.

    ``weight`` is (outputs, inputs, k, k) with k odd and zero padding of k//2; m is k//2 + 1 made odd. What the new one
    gives is to be shuffled. Output pixel 2y + p reads input pixels 2y + p + d - k//2 for d in 0 … k-1, that is, offset
    (p + d - k//2) // 2 and phase (p + d - k//2) % 2 at half the resolution. Zero padding stays zero padding.
    """
    outputs, inputs, kernel, _ = weight.shape
    half = -(-(kernel // 2) // 2)
    side = 2 * half + 1
    first = 2 * half - kernel // 2  # where the old kernel begins in 2 · side pixels, for the output's phase 0
    last = 2 * side - kernel - first
    # Shifted copies, not an index: the gradient of an index is summed by threads in whichever order they come.
    moved = [F.pad(weight, (first + x, last - x, first + y, last - y)) for y in range(2) for x in range(2)]
    phases = torch.stack(moved, 1).reshape(outputs, 4, inputs, side, 2, side, 2).permute(0, 1, 2, 4, 6, 3, 5)
    return phases.reshape(4 * outputs, 4 * inputs, side, side).contiguous(memory_format=torch.channels_last)


class Generator(nn.Module):
    """SRResNet.

    Args:
        blocks: residual blocks B; 16 is the paper's, 5 the simpler version.
        features: channels C of the trunk.
        scale: 2, 4 or 8.
        tail_kernel: side of the last convolution; the paper's is 9 (other projects' files may have 3).
        prelu_width: slopes per PReLU: 1 (the paper's) or ``features`` (one per channel).
        upsampling: ``pixelshuffle`` (the paper's), or ``nearest``: repeated pixels and a convolution in each stage, at
            the same cost and with a quarter of the weights; no checkerboard (Odena et al. 2016).

    Raises:
        ValueError: a value outside these.
    """

    def __init__(
        self,
        *,
        blocks: int = 16,
        features: int = 64,
        scale: int = 4,
        tail_kernel: int = 9,
        prelu_width: int = 1,
        upsampling: str = "pixelshuffle",
    ) -> None:
        super().__init__()
        if blocks < 1 or features < 1:
            raise ValueError(f"blocks and features must be at least 1, not {blocks} and {features}")
        if scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, not {scale}")
        if tail_kernel < 1 or tail_kernel % 2 == 0:
            raise ValueError(f"tail_kernel must be odd, not {tail_kernel}")
        if prelu_width not in (1, features):
            raise ValueError(f"prelu_width must be 1 or features ({features}), not {prelu_width}")
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling must be one of {', '.join(UPSAMPLINGS)}, not {upsampling}")
        self.blocks, self.features, self.scale = blocks, features, scale
        self.tail_kernel, self.prelu_width, self.upsampling = tail_kernel, prelu_width, upsampling

        self.head = nn.Sequential(nn.Conv2d(3, features, 9, padding=4), PReLU(prelu_width))
        self.trunk = nn.Sequential(*(ResidualBlock(features, prelu_width=prelu_width) for _ in range(blocks)))
        self.trunk_conv = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.trunk_norm = nn.BatchNorm2d(features)
        self.upsample = nn.Sequential(
            *(
                UpsampleStage(features, prelu_width=prelu_width, nearest=upsampling == "nearest")
                for _ in range(int(math.log2(scale)))
            )
        )
        self.tail = Tail(features, 3, tail_kernel, padding=tail_kernel // 2)

    @property
    def architecture(self) -> dict[str, int | str]:
        """The keyword arguments that build a generator of this shape."""
        # The paper's is not named, so that files of it are what they were before there was another.
        named = {} if self.upsampling == "pixelshuffle" else {"upsampling": self.upsampling}
        return {
            "blocks": self.blocks,
            "features": self.features,
            "scale": self.scale,
            "tail_kernel": self.tail_kernel,
            "prelu_width": self.prelu_width,
            **named,
        }

    @property
    def receptive_radius(self) -> float:
        """LR pixels on each side that an output pixel can depend on: 17.5 for B = 5, 39.5 for B = 16 at x4.

        A halo of this many pixels, rounded up, makes tiles exact.
        """
        radius = 4.0 + 2 * self.blocks + 1  # head, two 3x3 convolutions a block, trunk_conv
        for stage in range(len(self.upsample)):
            radius += 0.5**stage  # a 3x3 convolution at 2**stage times the LR resolution, or what amounts to one
        return radius + (self.tail_kernel // 2) / self.scale

    def forward(self, lr: Tensor) -> Tensor:
        """Return ``sr`` (B, 3, scale*h, scale*w), unclamped, for ``lr`` (B, 3, h, w) in [0, 1]."""
        skip = self.head(lr)  # (B, C, h, w)
        x = skip + self.trunk_norm(self.trunk_conv(self.trunk(skip)))
        *stages, last = self.upsample
        for stage in stages:
            x = stage(x)
        assert isinstance(last, UpsampleStage)
        return self.tail(last.unshuffled(x))  # (B, 4C, H/2, W/2) to (B, 3, H, W)


def with_plain_convolutions_(generator: Generator) -> Generator:
    """Make every ``RepeatedConv`` the plain convolution that it computes, in place; returns it.

    For inference and exports, which need not put the weights together in each call. Its state dict no longer has the
    shape of the file format.
    """
    for stage in generator.upsample:
        assert isinstance(stage, UpsampleStage)
        if isinstance(stage.conv, RepeatedConv):
            weight, bias = (nn.Parameter(each.detach(), each.requires_grad) for each in stage.conv.of_phases())
            stage.conv = Conv3x3(weight.shape[1], weight.shape[0])
            stage.conv.weight, stage.conv.bias = weight, bias
    return generator


def fold_batchnorm_(generator: Generator) -> Generator:
    """Fold every BatchNorm of an ``eval()`` generator into its convolution, in place; returns it.

    The folded generator computes the same (to rounding) with fewer passes over memory. It is for
    inference only: its state dict no longer has the shape of the file format.

    Raises:
        ValueError: the generator is in training mode, where BatchNorm does not use running statistics.
    """
    if generator.training:
        raise ValueError("fold_batchnorm_ needs generator.eval(): training BatchNorm cannot be folded")
    pairs: list[tuple[nn.Module, str, str]] = [(generator, "trunk_conv", "trunk_norm")]
    for block in generator.trunk:
        pairs += [(block, "conv1", "norm1"), (block, "conv2", "norm2")]
    for module, conv, norm in pairs:
        folded = nn.utils.fusion.fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm))
        setattr(module, conv, folded)
        setattr(module, norm, nn.Identity())
    return generator
