"""How other projects name the parts of SRResNet, and what tells other networks from it. Only tables.

Read from the projects' public sources. ``other_projects.py`` uses them.
"""

from dataclasses import dataclass
from typing import Any

EPS = 1e-5  # of torch's BatchNorm, and of ours


@dataclass(frozen=True, kw_only=True)
class Project:
    """How one project names the parts. ``names``: pattern of a module's name to ours, ``\\1`` standing for numbers.

    ``first_block`` is the number of its first residual block; ``eps`` is that of its BatchNorms (not of those
    in the upsampling); ``unused`` are tensors that its forward pass does not touch.
    """

    name: str
    names: dict[str, str]
    input_range: str = "unit"
    output_range: str = "unit"
    first_block: int = 0
    eps: float = EPS
    unused: str | None = None


def _block(stem: str, parts: tuple[str, str, str, str, str]) -> dict[str, str]:
    """Names in a residual block, in the order of ours."""
    ours = ("conv1", "norm1", "act", "conv2", "norm2")
    return {stem + theirs: rf"trunk.\1.{name}" for theirs, name in zip(parts, ours, strict=True) if theirs}


def _lornatang(name: str, prefix: str) -> Project:
    return Project(
        name=name,
        names={
            rf"{prefix}1\.0": "head.0",
            rf"{prefix}1\.1": "head.1",
            **_block(r"trunk\.(\d+)\.rcb\.", ("0", "1", "2", "3", "4")),
            rf"{prefix}2\.0": "trunk_conv",
            rf"{prefix}2\.1": "trunk_norm",
            r"upsampling\.(\d+)\.upsample_block\.0": r"upsample.\1.conv",
            r"upsampling\.(\d+)\.upsample_block\.2": r"upsample.\1.act",
            rf"{prefix}3": "tail",
        },
    )


def _eriklindernoren(name: str, **more: Any) -> Project:
    return Project(
        name=name,
        names={
            r"conv1\.0": "head.0",
            r"conv1\.1": "head.1",
            **_block(r"res_blocks\.(\d+)\.conv_block\.", ("0", "1", "2", "3", "4")),
            r"conv2\.0": "trunk_conv",
            r"conv2\.1": "trunk_norm",
            r"upsampling\.0": "upsample.0.conv",
            r"upsampling\.1": "upsample.0.norm",
            r"upsampling\.3": "upsample.0.act",
            r"upsampling\.4": "upsample.1.conv",
            r"upsampling\.5": "upsample.1.norm",
            r"upsampling\.7": "upsample.1.act",
            r"conv3\.0": "tail",
        },
        **more,
    )


PROJECTS = (
    Project(
        name="srgan_lit",
        names={
            r"head\.0": "head.0",
            r"head\.1": "head.1",
            **_block(r"trunk\.(\d+)\.", ("conv1", "norm1", "act", "conv2", "norm2")),
            "trunk_conv": "trunk_conv",
            "trunk_norm": "trunk_norm",
            r"upsample\.(\d+)\.conv": r"upsample.\1.conv",
            r"upsample\.(\d+)\.act": r"upsample.\1.act",
            "tail": "tail",
        },
    ),
    _lornatang("Lornatang/SRGAN-PyTorch (from October 2022)", "conv"),
    _lornatang("Lornatang/SRGAN-PyTorch (April to September 2022)", "conv_block"),
    Project(
        name="leftthomas/SRGAN",
        names={
            r"block1\.0": "head.0",
            r"block1\.1": "head.1",
            **_block(r"block([2-6])\.", ("conv1", "bn1", "prelu", "conv2", "bn2")),
            r"block7\.0": "trunk_conv",
            r"block7\.1": "trunk_norm",
            r"block8\.(\d+)\.conv": r"upsample.\1.conv",
            r"block8\.(\d+)\.prelu": r"upsample.\1.act",
            r"block8\.\d+": "tail",
        },
        output_range="tanh",
        first_block=2,
    ),
    Project(
        name="Slime0519/SRGAN",
        names={
            "Conv1": "head.0",
            "PReLU1": "head.1",
            **_block(r"RBlock(\d+)\.", ("Conv1", "BN1", "PReLU1", "Conv2", "BN2")),
            "Conv3": "trunk_conv",
            "BN1": "trunk_norm",
            r"Pixelsuffle_Module\.(\d+)\.Conv": r"upsample.\1.conv",
            r"Pixelsuffle_Module\.(\d+)\.PReLU": r"upsample.\1.act",
            "Conv5": "tail",
        },
        first_block=1,
    ),
    Project(
        name="dongheehand/SRGAN-PyTorch",
        names={
            r"conv01\.body\.0": "head.0",
            r"conv01\.body\.1": "head.1",
            **_block(
                r"body\.(\d+)\.body\.", (r"0\.body\.0", r"0\.body\.1", r"0\.body\.2", r"1\.body\.0", r"1\.body\.1")
            ),
            r"conv02\.body\.0": "trunk_conv",
            r"conv02\.body\.1": "trunk_norm",
            r"tail\.(\d+)\.body\.0\.body\.0": r"upsample.\1.conv",
            r"tail\.(\d+)\.body\.2": r"upsample.\1.act",
            r"last_conv\.body\.0": "tail",
        },
        input_range="signed",
        output_range="tanh",
    ),
    Project(
        name="sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution",
        names={
            r"conv_block1\.conv_block\.0": "head.0",
            r"conv_block1\.conv_block\.1": "head.1",
            **_block(
                r"residual_blocks\.(\d+)\.conv_block",
                (
                    r"1\.conv_block\.0",
                    r"1\.conv_block\.1",
                    r"1\.conv_block\.2",
                    r"2\.conv_block\.0",
                    r"2\.conv_block\.1",
                ),
            ),
            r"conv_block2\.conv_block\.0": "trunk_conv",
            r"conv_block2\.conv_block\.1": "trunk_norm",
            r"subpixel_convolutional_blocks\.(\d+)\.conv": r"upsample.\1.conv",
            r"subpixel_convolutional_blocks\.(\d+)\.prelu": r"upsample.\1.act",
            r"conv_block3\.conv_block\.0": "tail",
        },
        input_range="imagenet",
        output_range="tanh",
    ),
    Project(
        name="Lightning-Universe/lightning-bolts",
        names={
            r"input_block\.0": "head.0",
            r"input_block\.1": "head.1",
            **_block(r"res_blocks\.(\d+)\.block\.", ("0", "1", "2", "3", "4")),
            r"res_blocks\.after0": "trunk_conv",  # see _renumbered
            r"res_blocks\.after1": "trunk_norm",
            r"ps_blocks\.(\d+)\.conv": r"upsample.\1.conv",
            r"ps_blocks\.(\d+)\.act": r"upsample.\1.act",
            r"output_block\.0": "tail",
        },
        output_range="tanh",
    ),
    Project(
        name="aladdinpersson/Machine-Learning-Collection",
        names={
            r"initial\.cnn": "head.0",
            r"initial\.act": "head.1",
            **_block(r"residuals\.(\d+)\.block", (r"1\.cnn", r"1\.bn", r"1\.act", r"2\.cnn", r"2\.bn")),
            r"convblock\.cnn": "trunk_conv",
            r"convblock\.bn": "trunk_norm",
            r"upsamples\.(\d+)\.conv": r"upsample.\1.conv",
            r"upsamples\.(\d+)\.act": r"upsample.\1.act",
            "final": "tail",
        },
        output_range="tanh",
        unused=r"(residuals\.\d+\.block2|convblock)\.act",
    ),
    _eriklindernoren("eriklindernoren/PyTorch-GAN (ReLU)", input_range="signed", output_range="tanh"),
    # Its later version: PReLU, ImageNet's normalisation both ways, and an epsilon of 0.8.
    _eriklindernoren(
        "eriklindernoren/PyTorch-GAN (PReLU)", input_range="imagenet", output_range="tanh_imagenet", eps=0.8
    ),
)

# Networks that are often called SRGAN and are not this one: a tensor that gives each away, and the difference.
OTHERS = (
    (r"(.*\.)?conv_first\.weight", "BasicSR's or MMagic's MSRResNet", "it has no BatchNorm"),
    (r".*\.depthwise\..*", "Swift-SRGAN", "its convolutions are depthwise separable"),
    (r"(neck|stem)\.0\..*", "Fast-SRGAN", "its blocks are inverted residuals and its first convolution is 3x3"),
    (r"residual_block\..*", "tensorlayer's SRGAN", "its first convolution is 3x3 and its last 1x1"),
)
