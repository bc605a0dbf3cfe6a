"""Generators of other projects: recognised by the names of their tensors and converted exactly.

Every project in ``other_projects_names`` trained the same network (SRResNet with BatchNorm) under other names and
with small deviations, each of which has an exact equivalent: a missing bias is zero, a bias before a BatchNorm moves
its mean, ReLU is PReLU with slope 0, another epsilon moves the variance, a BatchNorm after an upsampling convolution
folds into it. The ranges of input and output go into the file's metadata (see ``generator_file``).

Nothing in a file is executed: pickles are read with torch's restricted loading only.
"""

import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from srgan_lit.common.errors import SRGANError
from srgan_lit.model_files import tensor_files
from srgan_lit.model_files.other_projects_names import EPS, OTHERS, PROJECTS, Project
from srgan_lit.networks.srresnet import SCALES, Generator

_WRAPPERS = ("module.", "_orig_mod.", "generator.", "srresnet.", "net.", "netG.", "model.", "gen.")
_LONGEST_NAME = 200  # characters; real ones have 40
_HOLDERS = ("state_dict", "ema_state_dict", "params_ema", "params", "model_state_dict", "generator", "model")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted generator, its ranges, and ``report``: what the file holds and what was changed, one line each."""

    generator: Generator
    project: str
    input_range: str
    output_range: str
    report: list[str]


def read_tensors(path: str | os.PathLike[str], *, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """The tensors of a ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file, and under which key they were.

    Args:
        path: the file. A pickle is read with torch's restricted loading: nothing in it is executed.
        key: which dictionary of the file, ``a.b`` for one in another; None: the file itself if it holds kernels,
            else the usual ones.

    Raises:
        SRGANError: damaged, without tensors, or holding Python objects, which only its own code could read.
    """
    path = Path(path)
    if not path.is_file():
        raise SRGANError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path), ""
        with path.open("rb") as file:
            beginning = file.read(2)
        if beginning != b"PK" and beginning[:1] != b"\x80":  # a zip, or a pickle
            raise SRGANError(
                f"{path}: not a file of tensors, by its first bytes; give what torch.save wrote (.pth, .pt, .ckpt) "
                "or a .safetensors"
            )
        if beginning == b"PK" and _is_torchscript(path):
            raise SRGANError(
                f"{path}: a TorchScript archive, which holds a program; "
                "in the project that it comes from, save model.state_dict() and convert that"
            )
        loaded = tensor_files.read(path)
    except SRGANError:
        raise
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"the Python object {match[1]}" if match else "more than tensors"
        raise SRGANError(
            f"{path}: holds {what}, and reading that would run code from the file; "
            "in the project that it comes from, save model.state_dict() and convert that"
        ) from error
    except Exception as error:  # torch and safetensors raise many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SRGANError(f"{path}: not a readable file of tensors ({reason})") from error
    if not isinstance(loaded, Mapping):
        raise SRGANError(f"{path}: no tensors in it; it holds {type(loaded).__name__}")
    inside = {"": _tensors(loaded), **_holders(loaded)}
    if key is None:  # a step's number may lie beside the dictionary that is meant
        usual = [name for name in ("", *_HOLDERS) if inside.get(name)]
        key = next((name for name in usual if _has_kernels(inside[name])), usual[0] if usual else "")
    if not inside.get(key):
        keys = [f"--key {name}" for name, tensors in inside.items() if name and _has_kernels(tensors)]
        known = " or ".join(keys[:5]) if keys else f"it holds {', '.join(map(str, loaded))[:200]}"
        raise SRGANError(f"{path}: no tensors {f'under {key}' if key else 'in it'}; {'take ' if keys else ''}{known}")
    return inside[key], key


def _is_torchscript(path: Path) -> bool:
    """Whether a zip holds code, by its list of names."""
    return zipfile.is_zipfile(path) and any("/code/" in name for name in zipfile.ZipFile(path).namelist())


def _holders(loaded: Mapping[Any, Any]) -> dict[str, dict[str, Tensor]]:
    """State dicts inside, of one level and of two, by their keys, joined by dots."""
    found = {}
    for name, value in loaded.items():
        found[str(name)] = _tensors(value)
        for inner, content in value.items() if isinstance(value, Mapping) else ():
            found[f"{name}.{inner}"] = _tensors(content)
    return {name: tensors for name, tensors in found.items() if tensors}


def _has_kernels(tensors: Mapping[str, Tensor]) -> bool:
    return any(tensor.dim() == 4 for tensor in tensors.values())


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
            r"^res_blocks\.(\d+)\.(?!block\.)", lambda match: f"res_blocks.after{int(match[1]) - last - 1}.", name
        )
        return re.sub(
            r"^ps_blocks\.(\d+)\.",
            lambda match: f"ps_blocks.{int(match[1]) // 3}.{('conv', 'shuffle', 'act')[int(match[1]) % 3]}.",
            name,
        )

    return {renamed(name): tensor for name, tensor in tensors.items()}


def _own_name(project: Project, name: str) -> str | None:
    """This package's name for a project's tensor; None if the project has no such tensor."""
    module, _, kind = name.rpartition(".")
    for pattern, own_name in project.names.items():
        if match := re.fullmatch(pattern, module):
            result = match.expand(own_name)
            if own_name.startswith("trunk.") and project.first_block:
                block = int(match[1]) - project.first_block
                result = re.sub(r"^trunk\.\d+", f"trunk.{block}", result)
            return f"{result}.{kind}"
    return None


def _recognise(tensors: dict[str, Tensor], *, source: str) -> tuple[Project, dict[str, str]]:
    """The project that all names belong to, and the project's names by this package's.

    Raises:
        SRGANError: there is none; names the nearest and the first difference.
    """
    if long_name := next((name for name in tensors if len(name) > _LONGEST_NAME), None):
        raise SRGANError(f"{source}: no generator of a known project; a tensor is called {long_name[:40]}…")
    for pattern, looks_like, why in OTHERS:
        if any(re.fullmatch(pattern, name) for name in tensors):
            raise SRGANError(f"{source}: looks like {looks_like}, which is another network: {why}")
    best: tuple[int, Project, dict[str, str], list[str]] | None = None
    for project in PROJECTS:
        names = {name: _own_name(project, name) for name in tensors}
        by_own_name = {own_name: name for name, own_name in names.items() if own_name}
        unknown = [
            name
            for name, own_name in names.items()
            if not own_name and not (project.unused and re.fullmatch(project.unused, name.rpartition(".")[0]))
        ]
        # PReLUs in the file tell eriklindernoren's two versions apart; only the first may lack them.
        score = 2 * len(by_own_name) - ("(ReLU)" in project.name and "head.1.weight" in by_own_name)
        score -= "(PReLU)" in project.name and "head.1.weight" not in by_own_name
        if best is None or score > best[0]:
            best = score, project, by_own_name, unknown
    assert best is not None
    _, project, by_own_name, unknown = best
    if len(by_own_name) < len(tensors) / 2:
        raise SRGANError(f"{source}: no generator of a known project; its first tensor is {next(iter(tensors))}")
    if unknown:
        raise SRGANError(f"{source}: looks like {project.name}, but tensor {unknown[0]} is not part of that")
    return project, by_own_name


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
    project, their_names = _recognise(tensors, source=source)
    for name in their_names.values():
        if wrong := tensor_files.unsound(tensors[name], name=name):
            raise SRGANError(f"{source}: tensor {name} {wrong}")
    state = {
        own_name: tensors[name].float() for own_name, name in their_names.items() if tensors[name].is_floating_point()
    }
    but = f"{source}: looks like {project.name}, but"
    try:
        steps = _adapt(state, eps=project.eps)
    except (KeyError, RuntimeError) as error:
        raise SRGANError(f"{but} its BatchNorms and convolutions do not fit together ({error})") from error
    counts = {own_name: tensors[name] for own_name, name in their_names.items() if tensors[name].dtype == torch.int64}
    generator = _generator(state, counts, their_names, source=but)
    shape = generator.architecture
    report = [
        f"project: {project.name}" + (f" (under {key})" if key else ""),
        f"generator: {shape['blocks']} blocks, {shape['features']} features, x{shape['scale']}, "
        f"last convolution {shape['tail_kernel']}x{shape['tail_kernel']}",
        f"tensors: {len(their_names)} taken, {len(raw) - len(their_names)} not part of the generator or unused by it",
        *steps,
    ]
    return Converted(
        generator=generator,
        project=project.name,
        input_range=project.input_range,
        output_range=project.output_range,
        report=report,
    )


def _adapt(state: dict[str, Tensor], *, eps: float) -> list[str]:
    """Change ``state``, under this package's names, into the exact equivalent of its network; returns what was done."""
    steps = []
    folded = 0
    for norm in sorted({name.rpartition(".")[0] for name in state if re.fullmatch(r"upsample\.\d\.norm\..*", name)}):
        weight, bias, mean, var = (state.pop(f"{norm}.{n}") for n in ("weight", "bias", "running_mean", "running_var"))
        conv = norm.replace("norm", "conv")
        gain = weight / (var + EPS).sqrt()
        old = state.get(f"{conv}.bias", torch.zeros_like(mean))
        state[f"{conv}.weight"] = state[f"{conv}.weight"] * gain.view(-1, 1, 1, 1)
        state[f"{conv}.bias"] = (old - mean) * gain + bias
        folded += 1
    if folded:
        steps.append(f"folded: {folded} BatchNorms after upsampling convolutions")
    biases = [name for name in state if re.fullmatch(r"trunk\.\d+\.conv[12]\.bias|trunk_conv\.bias", name)]
    for name in biases:
        mean_name = name.replace("conv", "norm").replace(".bias", ".running_mean")
        if mean_name in state:  # else: the missing tensor is reported by name
            state[mean_name] = state[mean_name] - state.pop(name)
    if biases:
        steps.append(f"moved: {len(biases)} biases into the mean of the BatchNorm behind")
    if eps != EPS:
        for name in state:
            if name.endswith("running_var"):
                state[name] = state[name] + (eps - EPS)
        steps.append(f"moved: the BatchNorms' epsilon, {eps}, into their variance")
    return steps


def _generator(
    state: dict[str, Tensor], counts: dict[str, Tensor], their_names: dict[str, str], *, source: str
) -> Generator:
    """A generator of the shape of ``state`` and with its values.

    Args:
        state: under this package's names; what its network has and the project lacks is added.
        counts: the batches that BatchNorms have counted, by the same names; 0 where there is none.
        their_names: the project's names by this package's, for messages.
        source: how messages begin.

    Raises:
        SRGANError: a tensor is missing, surplus or of another shape.
    """
    blocks = 1 + max([-1, *(int(name.split(".")[1]) for name in state if name.startswith("trunk."))])
    stages = 1 + max([-1, *(int(name.split(".")[1]) for name in state if name.startswith("upsample."))])
    for name in ("head.0.weight", "tail.weight"):
        if name not in state or state[name].dim() != 4:
            raise SRGANError(f"{source} it has no {'first' if 'head' in name else 'last'} convolution")
    if not 0 < blocks <= len(state) or not 0 < stages < 8 or 2**stages not in SCALES:  # numbers in names can be any
        raise SRGANError(f"{source} it has {blocks} blocks and {stages} upsampling stages")
    features = state["head.0.weight"].shape[0]
    slopes = [tensor for name, tensor in state.items() if name == "head.1.weight" or name.endswith(".act.weight")]
    # This package's own, from its export: a convolution behind repeated pixels keeps the number of channels.
    repeats = "upsample.0.conv.weight" in state and state["upsample.0.conv.weight"].shape[:1] == (features,)
    width = max([1, *(tensor.numel() for tensor in slopes)])
    try:
        with torch.device("meta"):  # shapes alone, until the file's tensors are known to have them
            generator = Generator(
                blocks=blocks,
                features=features,
                scale=2**stages,
                tail_kernel=state["tail.weight"].shape[-1],
                prelu_width=width,
                upsampling="nearest" if repeats else "pixelshuffle",
            ).eval()
    except ValueError as error:
        raise SRGANError(f"{source} {error}") from error
    expected = generator.state_dict()
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):
            state[name] = counts.get(name, torch.zeros(tensor.shape, dtype=tensor.dtype))
        elif name not in state and re.fullmatch(r"head\.1\.weight|.*\.act\.weight", name) and not slopes:
            state[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)  # ReLU
        elif name not in state and re.fullmatch(r"(head\.0|upsample\.\d\.conv|tail)\.bias", name):
            state[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif name not in state:
            raise SRGANError(f"{source} it has no tensor in the place of our {name}")
        elif state[name].numel() == 1 and tensor.dim() == 1:
            state[name] = state[name].reshape(1).expand_as(tensor).clone()
        if state[name].shape != tensor.shape:
            their_name = their_names.get(name, name)
            raise SRGANError(
                f"{source} tensor {their_name} is {tuple(state[name].shape)} and not {tuple(tensor.shape)}"
            )
    if surplus := sorted(state.keys() - expected.keys()):
        raise SRGANError(f"{source} tensor {their_names.get(surplus[0], surplus[0])} has no place in SRResNet")
    generator.load_state_dict(state, assign=True)
    return generator
