"""Generators of other projects: recognised by the names of their tensors, brought to ours, exactly.

Every project below trained the same network (SRResNet with BatchNorm) under other names and with small
deviations, each of which has an exact equivalent: a missing bias is zero, a bias before a BatchNorm moves its
mean, ReLU is PReLU with slope 0, another epsilon moves the variance, a BatchNorm after an upsampling
convolution folds into it. The ranges of input and output go into the file's metadata (see ``checkpoint``).

Nothing in a file is executed: pickles are read with torch's restricted loading only.
"""

import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from srgan_lit.errors import SRGANError
from srgan_lit.generator import SCALES, Generator

_EPS = 1e-5  # of torch's BatchNorm, and of ours


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
    eps: float = _EPS
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
_OTHERS = (
    (r"(.*\.)?conv_first\.weight", "BasicSR's or MMagic's MSRResNet", "it has no BatchNorm"),
    (r".*\.depthwise\..*", "Swift-SRGAN", "its convolutions are depthwise separable"),
    (r"(neck|stem)\.0\..*", "Fast-SRGAN", "its blocks are inverted residuals and its first convolution is 3x3"),
    (r"residual_block\..*", "tensorlayer's SRGAN", "its first convolution is 3x3 and its last 1x1"),
)

_WRAPPERS = ("module.", "_orig_mod.", "generator.", "srresnet.", "net.", "netG.")
_HOLDERS = ("state_dict", "ema_state_dict", "params_ema", "params", "model_state_dict", "generator", "model")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A foreign generator in our form, and ``report``: what was found and done, one line each."""

    generator: Generator
    project: str
    input_range: str
    output_range: str
    report: list[str]


def read_tensors(path: str | os.PathLike[str], *, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """The tensors of a ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file, and under which key they were.

    Args:
        path: the file. A pickle is read with torch's restricted loading: nothing in it is executed.
        key: which dictionary of the file; None: the file itself if it holds tensors, else the usual ones.

    Raises:
        SRGANError: damaged, without tensors, or holding Python objects, which only its own code could read.
    """
    path = Path(path)
    if not path.is_file():
        raise SRGANError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path), ""
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"the Python object {found[1]}" if found else "more than tensors"
        raise SRGANError(
            f"{path}: holds {what}, and reading that would run code from the file; "
            "in the project that it comes from, save model.state_dict() and convert that"
        ) from error
    except Exception as error:  # torch and safetensors raise many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SRGANError(f"{path}: not a readable file of tensors ({reason})") from error
    if key is None and isinstance(loaded, Mapping):
        key = "" if _tensors(loaded) else next((name for name in _HOLDERS if _tensors(loaded.get(name))), "")
    tensors = _tensors(loaded.get(key) if key and isinstance(loaded, Mapping) else loaded)
    if not tensors:
        known = ", ".join(map(str, loaded)) if isinstance(loaded, Mapping) else type(loaded).__name__
        raise SRGANError(f"{path}: no tensors {f'under {key}' if key else 'in it'}; it holds {known[:200]}")
    return tensors, key or ""


def _tensors(value: object) -> dict[str, Tensor]:
    """``value`` if it is a state dict, else nothing."""
    if isinstance(value, Mapping) and any(isinstance(tensor, Tensor) for tensor in value.values()):
        return {str(name): tensor for name, tensor in value.items() if isinstance(tensor, Tensor)}
    return {}


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without prefixes that wrappers put before every name; of a whole GAN, the generator."""
    for _ in _WRAPPERS:
        for prefix in _WRAPPERS:
            inner = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            if inner:
                tensors = inner
    return tensors


def _renumbered(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """lightning-bolts numbers what follows the residual blocks along with them; the others give it names."""
    if not any(name.startswith("ps_blocks.") for name in tensors):
        return tensors
    last = max([-1, *(int(name.split(".")[1]) for name in tensors if re.match(r"res_blocks\.\d+\.block\.", name))])

    def renamed(name: str) -> str:
        name = re.sub(
            r"^res_blocks\.(\d+)\.(?!block\.)", lambda found: f"res_blocks.after{int(found[1]) - last - 1}.", name
        )
        return re.sub(
            r"^ps_blocks\.(\d+)\.",
            lambda found: f"ps_blocks.{int(found[1]) // 3}.{('conv', 'shuffle', 'act')[int(found[1]) % 3]}.",
            name,
        )

    return {renamed(name): tensor for name, tensor in tensors.items()}


def _ours(project: Project, name: str) -> str | None:
    """Our name for a tensor of theirs: None if the project has no such tensor."""
    module, _, kind = name.rpartition(".")
    for pattern, ours in project.names.items():
        if found := re.fullmatch(pattern, module):
            result = found.expand(ours)
            if ours.startswith("trunk.") and project.first_block:
                block = int(found[1]) - project.first_block
                result = re.sub(r"^trunk\.\d+", f"trunk.{block}", result)
            return f"{result}.{kind}"
    return None


def _recognise(tensors: dict[str, Tensor], *, source: str) -> tuple[Project, dict[str, str]]:
    """The project all of whose names these are, and their names by ours.

    Raises:
        SRGANError: none; says which comes nearest, and the first difference.
    """
    for pattern, looks_like, why in _OTHERS:
        if any(re.fullmatch(pattern, name) for name in tensors):
            raise SRGANError(f"{source}: looks like {looks_like}, which is another network: {why}")
    best: tuple[int, Project, dict[str, str], list[str]] | None = None
    for project in PROJECTS:
        names = {name: _ours(project, name) for name in tensors}
        by_ours = {ours: name for name, ours in names.items() if ours}
        unknown = [
            name
            for name, ours in names.items()
            if not ours and not (project.unused and re.fullmatch(project.unused, name.rpartition(".")[0]))
        ]
        # PReLUs in the file tell eriklindernoren's two versions apart; only the first may lack them.
        score = 2 * len(by_ours) - ("(ReLU)" in project.name and "head.1.weight" in by_ours)
        score -= "(PReLU)" in project.name and "head.1.weight" not in by_ours
        if best is None or score > best[0]:
            best = score, project, by_ours, unknown
    assert best is not None
    _, project, by_ours, unknown = best
    if len(by_ours) < len(tensors) / 2:
        raise SRGANError(f"{source}: no generator of a known project; its first tensor is {next(iter(tensors))}")
    if unknown:
        raise SRGANError(f"{source}: looks like {project.name}, but tensor {unknown[0]} is not part of that")
    return project, by_ours


def convert(path: str | os.PathLike[str], *, key: str | None = None) -> Converted:
    """Read another project's generator file as ours, computing the same in ``eval()`` mode.

    Args:
        path: see ``read_tensors``.
        key: see ``read_tensors``.

    Raises:
        SRGANError: unreadable, or of another network; names the first difference.
    """
    source = str(path)
    raw, key = read_tensors(path, key=key)
    tensors = _renumbered(_unwrapped(raw))
    project, theirs = _recognise(tensors, source=source)
    found = {ours: tensors[name].float() for ours, name in theirs.items() if tensors[name].is_floating_point()}
    steps = _adapt(found, eps=project.eps)
    generator = _generator(found, theirs, source=f"{source}: looks like {project.name}, but")
    shape = generator.architecture
    report = [
        f"project: {project.name}" + (f" (under {key})" if key else ""),
        f"generator: {shape['blocks']} blocks, {shape['features']} features, x{shape['scale']}, "
        f"last convolution {shape['tail_kernel']}x{shape['tail_kernel']}",
        f"tensors: {len(theirs)} taken, {len(raw) - len(theirs)} not part of the generator or unused by it",
        *steps,
    ]
    return Converted(
        generator=generator,
        project=project.name,
        input_range=project.input_range,
        output_range=project.output_range,
        report=report,
    )


def _adapt(found: dict[str, Tensor], *, eps: float) -> list[str]:
    """Change tensors, under our names, into the exact equivalent that our network has; say what was done."""
    steps = []
    folded = 0
    for norm in sorted({name.rpartition(".")[0] for name in found if re.fullmatch(r"upsample\.\d\.norm\..*", name)}):
        weight, bias, mean, var = (found.pop(f"{norm}.{n}") for n in ("weight", "bias", "running_mean", "running_var"))
        conv = norm.replace("norm", "conv")
        gain = weight / (var + _EPS).sqrt()
        old = found.get(f"{conv}.bias", torch.zeros_like(mean))
        found[f"{conv}.weight"] = found[f"{conv}.weight"] * gain.view(-1, 1, 1, 1)
        found[f"{conv}.bias"] = (old - mean) * gain + bias
        folded += 1
    if folded:
        steps.append(f"folded: {folded} BatchNorms after upsampling convolutions")
    biases = [name for name in found if re.fullmatch(r"trunk\.\d+\.conv[12]\.bias|trunk_conv\.bias", name)]
    for name in biases:
        mean_name = name.replace("conv", "norm").replace(".bias", ".running_mean")
        if mean_name in found:  # else: the missing tensor is reported by name
            found[mean_name] = found[mean_name] - found.pop(name)
    if biases:
        steps.append(f"moved: {len(biases)} biases into the mean of the BatchNorm behind")
    if eps != _EPS:
        for name in found:
            if name.endswith("running_var"):
                found[name] = found[name] + (eps - _EPS)
        steps.append(f"moved: the BatchNorms' epsilon, {eps}, into their variance")
    return steps


def _generator(found: dict[str, Tensor], theirs: dict[str, str], *, source: str) -> Generator:
    """A generator of the shape that ``found`` has, holding it."""
    blocks = 1 + max([-1, *(int(name.split(".")[1]) for name in found if name.startswith("trunk."))])
    stages = 1 + max([-1, *(int(name.split(".")[1]) for name in found if name.startswith("upsample."))])
    for name in ("head.0.weight", "tail.weight"):
        if name not in found or found[name].dim() != 4:
            raise SRGANError(f"{source} it has no {'first' if 'head' in name else 'last'} convolution")
    if not blocks or 2**stages not in SCALES:
        raise SRGANError(f"{source} it has {blocks} blocks and {stages} upsampling stages")
    features = found["head.0.weight"].shape[0]
    slopes = [tensor for name, tensor in found.items() if name == "head.1.weight" or name.endswith(".act.weight")]
    width = max([1, *(tensor.numel() for tensor in slopes)])
    try:
        generator = Generator(
            blocks=blocks,
            features=features,
            scale=2**stages,
            tail_kernel=found["tail.weight"].shape[-1],
            prelu_width=width,
        ).eval()
    except ValueError as error:
        raise SRGANError(f"{source} {error}") from error
    wanted = generator.state_dict()
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.zeros_like(tensor)
        elif name not in found and re.fullmatch(r"head\.1\.weight|.*\.act\.weight", name) and not slopes:
            found[name] = torch.zeros_like(tensor)  # ReLU
        elif name not in found and re.fullmatch(r"(head\.0|upsample\.\d\.conv|tail)\.bias", name):
            found[name] = torch.zeros_like(tensor)
        elif name not in found:
            raise SRGANError(f"{source} it has no tensor in the place of our {name}")
        elif found[name].numel() == 1 and tensor.dim() == 1:
            found[name] = found[name].reshape(1).expand_as(tensor).clone()
        if found[name].shape != tensor.shape:
            raise SRGANError(
                f"{source} tensor {theirs.get(name, name)} is {tuple(found[name].shape)} and not {tuple(tensor.shape)}"
            )
    if surplus := sorted(found.keys() - wanted.keys()):
        raise SRGANError(f"{source} tensor {theirs.get(surplus[0], surplus[0])} has no place in SRResNet")
    generator.load_state_dict(found)
    return generator
