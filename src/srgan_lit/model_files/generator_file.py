"""The generator file (``.safetensors``) and every way to name a model. No optimizer state.

A generator file holds the tensors of the generator's state dict and, as string metadata: ``format_version``;
``network`` (its name in ``networks.architectures``, or of the user's class; srresnet where there is none);
``architecture`` (JSON, the keyword arguments that build it); ``input_range`` and ``output_range``;
``trained`` (JSON: config hash, data, iterations, versions); ``scores`` (JSON, by protocol). Reading one never
runs code.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from srgan_lit.common import atomic_files, reserved_names
from srgan_lit.common.errors import SRGANError
from srgan_lit.config.nearest_name import nearest
from srgan_lit.model_files import box, tensor_files
from srgan_lit.networks import architectures
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures.tensors import IMAGENET_MEAN, IMAGENET_STD

FORMAT_VERSION = "1"
Own = Callable[..., nn.Module]  # a user's class of generators

# What a converted generator expects and gives; ours is "unit" both ways.
INPUT_RANGES = ("unit", "signed", "imagenet")  # [0, 1]; [-1, 1]; ImageNet mean and deviation
OUTPUT_RANGES = ("unit", "tanh", "tanh_imagenet")  # [0, 1], linear; (tanh(x) + 1) / 2; tanh(x) * deviation + mean


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a generator file says about itself."""

    architecture: dict[str, Any]
    network: str = architectures.SRRESNET
    input_range: str = "unit"
    output_range: str = "unit"
    trained: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)


class Ranged(nn.Module):
    """A generator trained on other ranges, taking and giving [0, 1] like every other.

    The range is changed before and after the network, never inside its first convolution, whose zero padding
    would then stand for another colour and spoil the border.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, generator: Generator, *, input_range: str, output_range: str) -> None:
        super().__init__()
        self.generator, self.input_range, self.output_range = generator, input_range, output_range
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def scale(self) -> int:
        """How many times larger the output is."""
        return self.generator.scale

    @property
    def receptive_radius(self) -> float:
        """LR pixels on each side that an output pixel can depend on."""
        return self.generator.receptive_radius

    def forward(self, lr: Tensor) -> Tensor:
        """Return ``sr`` (B, 3, scale*h, scale*w) for ``lr`` (B, 3, h, w), both in [0, 1]."""
        if self.input_range == "signed":
            lr = lr * 2 - 1
        elif self.input_range == "imagenet":
            lr = (lr - self.mean) / self.std
        sr = self.generator(lr)
        if self.output_range == "tanh":
            return (sr.tanh() + 1) / 2
        return sr.tanh() * self.std + self.mean if self.output_range == "tanh_imagenet" else sr


def save_generator(
    path: str | os.PathLike[str],
    generator: Generator | Ranged,
    *,
    input_range: str = "unit",
    output_range: str = "unit",
    trained: dict[str, Any] | None = None,
    scores: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write a generator file, whole or not at all.

    Args:
        path: of the file.
        generator: its tensors are written; of a ``Ranged`` one with its ranges, whatever the next two say.
        input_range: what it takes, one of ``INPUT_RANGES``.
        output_range: what it gives, one of ``OUTPUT_RANGES``.
        trained: what the file says of its training.
        scores: what the file says of its scores, by protocol.
        half: write the convolutions' weights as float16, for half the size; BatchNorm and biases stay float32.
    """
    if isinstance(generator, Ranged):
        input_range, output_range, generator = generator.input_range, generator.output_range, generator.generator
    tensors = {name: value.detach().cpu().contiguous() for name, value in generator.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.dim() == 4 else value for name, value in tensors.items()}
    metadata = {
        "format_version": FORMAT_VERSION,
        "network": architectures.name_of(generator),
        "architecture": json.dumps(architectures.shape_of(generator)),
        "input_range": input_range,
        "output_range": output_range,
        "trained": json.dumps(trained or {}),
        "scores": json.dumps(scores or {}),
    }
    with atomic_files.replacing(path) as temporary:  # save_file would make it mode 0600
        temporary.write_bytes(_in_one_order(safetensors.torch.save(tensors, metadata)))


def _in_one_order(content: bytes) -> bytes:
    """The same safetensors file with sorted metadata: the library's order changes from one call to the next.

    The format is 8 bytes for the length of the header, the header (JSON, filled up with spaces), and the tensors.
    """
    length = int.from_bytes(content[:8], "little")
    header = _header(content)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    sorted_header = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = sorted_header.ljust(-(-len(sorted_header) // 8) * 8)
    return len(padded).to_bytes(8, "little") + padded + content[8 + length :]


def _header(content: bytes) -> dict[str, Any]:
    """The header of a safetensors file: its metadata and the place of each tensor.

    Raises:
        Exception: of many kinds, for another file.
    """
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("it has no safetensors header, whose metadata are texts")
    return header


def read_metadata(path: str | os.PathLike[str]) -> Metadata:
    """The metadata of the generator file at ``path``; its tensors are not read.

    Raises:
        SRGANError: not a generator file of a version that this package reads.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            raw = opened.metadata() or {}
    except FileNotFoundError:
        raise SRGANError(f"{path}: no such file") from None
    except Exception as error:  # safetensors raises its own error type, OSError, or ValueError by what is wrong
        raise SRGANError(f"{path}: not a generator file ({error})") from error
    return _metadata(raw, path)


def _metadata(raw: Mapping[str, str], path: str | os.PathLike[str]) -> Metadata:
    version = raw.get("format_version")
    if version != FORMAT_VERSION:
        said = "has no format_version" if version is None else f"has format_version {version!r}"
        raise SRGANError(
            f"{path}: {said}, and this package reads {FORMAT_VERSION}; "
            "another project's generator comes in with python -m srgan_lit.convert"
        )
    try:
        metadata = Metadata(
            network=raw.get("network", architectures.SRRESNET),
            architecture=json.loads(raw["architecture"]),
            input_range=raw.get("input_range", "unit"),
            output_range=raw.get("output_range", "unit"),
            trained=json.loads(raw.get("trained", "{}")),
            scores=json.loads(raw.get("scores", "{}")),
        )
    except (KeyError, ValueError, RecursionError) as error:
        raise SRGANError(f"{path}: unreadable metadata ({error})") from error
    if not isinstance(metadata.trained, dict) or not isinstance(metadata.scores, dict):
        raise SRGANError(f"{path}: unreadable metadata (trained and scores must be JSON objects)")
    if metadata.input_range not in INPUT_RANGES or metadata.output_range not in OUTPUT_RANGES:
        raise SRGANError(f"{path}: unknown range {metadata.input_range!r} or {metadata.output_range!r}")
    return metadata


def load_strictly(generator: Generator, tensors: dict[str, Tensor], *, source: str) -> None:
    """Load ``tensors`` into ``generator``; every name and shape must match.

    Raises:
        SRGANError: names the first tensor that is missing, surplus or of another shape.
    """
    expected = generator.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise SRGANError(f"{source}: tensor {name} is missing; the file does not match its architecture")
        if wrong := tensor_files.unsound(tensors[name], name=name):
            raise SRGANError(f"{source}: tensor {name} {wrong}")
        if tensors[name].is_floating_point() != tensor.is_floating_point():
            raise SRGANError(f"{source}: tensor {name} is of type {tensors[name].dtype}")
        if tensors[name].shape != tensor.shape:
            raise SRGANError(
                f"{source}: tensor {name} is {tuple(tensors[name].shape)}, its architecture says {tuple(tensor.shape)}"
            )
    if surplus := sorted(tensors.keys() - expected.keys()):
        raise SRGANError(f"{source}: tensor {surplus[0]} is not part of its architecture")
    generator.load_state_dict(tensors, assign=True)


def _build(
    network: object,
    architecture: dict[str, int | str],
    tensors: Mapping[str, Tensor],
    own: nn.Module | Own | None,
    *,
    source: str,
) -> Generator:
    """The generator that a file says, for its tensors; ``own`` itself, if it is made already.

    What a file names and the table lacks is never imported.

    Raises:
        SRGANError: the table has no such network and there is no class ``own``, or it refuses the architecture.
    """
    if isinstance(own, nn.Module):
        return cast(Generator, own)
    row = architectures.ARCHITECTURES.get(str(network))
    if row is None and own is not None:
        return _build_own(own, architecture, source=source)
    if row is None:
        module, _, name = str(network)[:200].rpartition(".")
        raise SRGANError(
            f"{source}: holds a {str(network)[:200]!r}, which is none of this package's generators "
            f"({', '.join(architectures.ARCHITECTURES)}), and what a file names is never imported: name its class "
            f"yourself, --network {module or 'package.module'}:{name} (in Python network={name})"
        )
    try:
        for value in architecture.values():
            if not (0 < value <= 4096 if type(value) is int else isinstance(value, str) and len(value) < 32):
                raise ValueError("its values must be whole numbers from 1 to 4096, or short names")
        if isinstance(blocks := architecture.get("blocks"), int):  # more of them than tensors are never filled
            architecture = architecture | {"blocks": min(blocks, len(tensors) + 1)}  # the first missing one is named
        with torch.device("meta"):  # shapes without values: they are loaded next
            return cast(Generator, row.network(**architecture))
    except (TypeError, ValueError, AttributeError) as error:
        raise SRGANError(f"{source}: no generator has the architecture {architecture!r} ({error})") from error


def _build_own(own: Own, architecture: dict[str, Any], *, source: str) -> Generator:
    """A generator of the user's class, with values: some are in no state dict.

    Raises:
        SRGANError: the class refuses the architecture, or makes no generator.
    """
    name = getattr(own, "__qualname__", repr(own))
    try:
        made = own(**architecture)
    except Exception as error:  # somebody else's code
        said = "" if architecture else "; the file says none: build it in Python and pass it, network=…"
        raise SRGANError(f"{source}: {name} cannot be made with {architecture!r} ({error}){said}") from error
    architectures.refuse_unless_generator(made, f"{source}: {name}")
    if not hasattr(made, "architecture"):
        made.architecture = architecture  # type: ignore[assignment]
    return cast(Generator, made)


def _from_generator_file(path: Path, network: nn.Module | Own | None) -> Generator | Ranged:
    # Read once, so that metadata and tensors are of one file even if it is replaced meanwhile.
    content = b""
    try:
        content = path.read_bytes()
        raw = _header(content).get("__metadata__", {})
    except Exception as error:  # a damaged header fails in many ways
        pickled = content.startswith((b"PK", b"\x80"))  # what torch.save writes
        said = "python -m srgan_lit.convert takes over what other projects save" if pickled else error
        raise SRGANError(f"{path}: not a generator file ({said})") from error
    metadata = _metadata(raw, path)
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # see read_metadata
        raise SRGANError(f"{path}: not a whole generator file ({error})") from error
    generator = _build(metadata.network, metadata.architecture, tensors, network, source=str(path))
    load_strictly(generator, tensors, source=str(path))
    if (metadata.input_range, metadata.output_range) == ("unit", "unit"):
        return generator
    return Ranged(generator, input_range=metadata.input_range, output_range=metadata.output_range)


def _from_lightning(path: Path, network: nn.Module | Own | None) -> Generator:
    try:
        loaded = tensor_files.read(path, mmap=True)
        architecture, state = loaded["generator_architecture"], loaded["state_dict"]
        name = loaded.get("generator_network", architectures.SRRESNET)
        tensors = {str(name): value for name, value in state.items()}
    except Exception as error:  # torch.load raises many kinds for a damaged or foreign file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        said = f"it has no {reason}" if isinstance(error, KeyError) else reason
        way = "python -m srgan_lit.convert takes over what other projects save"
        raise SRGANError(f"{path}: not a checkpoint of this package ({said}); {way}") from error
    # The moving average where there is one: it is what a run validates and saves.
    prefix = "ema.module." if any(name.startswith("ema.module.") for name in tensors) else "generator."
    tensors = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    generator = _build(name, architecture, tensors, network, source=str(path))
    load_strictly(generator, tensors, source=str(path))
    return generator


def is_bicubic(name_or_path: str | os.PathLike[str]) -> bool:
    """Whether this names the baseline rather than a generator.

    Raises:
        UsageError: there is a model called ``bicubic`` here, and it is not clear which one is meant.
    """
    if name_or_path != "bicubic":
        return False
    _refuse_if_also_here(name_or_path, "the baseline")
    return True


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The file behind a bundled name, generator file, run directory or Lightning checkpoint.

    A bare string that names a generator in the box means that; ``./srgan``, or any ``Path``, is what is there.

    Raises:
        UsageError: a bundled name which is also a model here.
        SRGANError: nothing is there.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and (name := box.name_of(name_or_path)):
        _refuse_if_also_here(name_or_path, "the model in the box")
        return box.path_of(name)
    if path.is_dir():
        if inside := _in_run_directory(path):
            return inside
        raise SRGANError(
            f"{path}: a folder without generator.safetensors or checkpoints/last.ckpt: not a run directory"
        )
    if path.is_file():
        return path
    raise SRGANError(
        f"{name_or_path}: no such model; give a .safetensors file, a run directory, a .ckpt, "
        f"or a name in the box ({', '.join(box.all_names())}).{nearest(str(name_or_path), box.all_names())}"
    )


def _in_run_directory(folder: Path) -> Path | None:
    names = ("generator.safetensors", "srresnet.safetensors", "checkpoints/last.ckpt")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _refuse_if_also_here(name: str, meaning: str) -> None:
    """Refuse a bare name in the box that is also a model in the working directory; a folder without a model is none.

    Raises:
        UsageError: it is.
    """
    if Path(name).is_file() or _in_run_directory(Path(name)):
        reserved_names.refuse_if_also_a_path(name, meaning)


def load_generator(
    name_or_path: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    network: nn.Module | Own | None = None,
) -> Generator | Ranged:
    """Return the generator of a bundled name, generator file, run directory or Lightning checkpoint.

    It is in ``eval()`` mode, float32, in channels_last layout, on ``device``. It takes ``lr`` (B, 3, h, w) in
    [0, 1] and returns ``sr`` (B, 3, scale*h, scale*w), which may overshoot [0, 1].

    Args:
        name_or_path: the model.
        device: where it is to be.
        network: for a file of a class of your own, this class, which is made with the arguments that the file says;
            or one that is made already, which takes the weights and is returned. Without it, such a file is refused:
            what a file names is never imported.

    Raises:
        SRGANError: nothing is there, or the file is damaged or of another kind; names the first wrong tensor.
    """
    path = find_model(name_or_path)
    if path.parent == box.FOLDER:
        box.check(path)
    read = _from_lightning if path.suffix == ".ckpt" else _from_generator_file
    generator = read(path, network)
    return generator.float().eval().to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_blend(
    name_or_path: str | os.PathLike[str], *, fidelity: float, network: Own | None = None
) -> Generator | Ranged:
    """Return a generator between a SRGAN and its SRResNet: their weights, interpolated.

    The SRResNet of a model in the box is named in ``box``; that of a run directory or of a file is
    ``srresnet.safetensors`` beside it. (Wang et al. 2018, ESRGAN, section 3.4, "network interpolation".)

    Args:
        name_or_path: the SRGAN, as for ``load_generator``.
        fidelity: 0 is the SRGAN, 1 the SRResNet.
        network: the class of both, where it is of your own.

    Raises:
        SRGANError: there is no SRResNet beside it, or it has another shape.
    """
    path = find_model(name_or_path)
    name = box.GENERATORS[path.stem].faithful if path.parent == box.FOLDER else "srresnet"
    partner = path.with_name(f"{name}.safetensors")
    if not name:
        raise SRGANError(f"{path.stem} is a SRResNet itself: --fidelity has nothing to blend it with")
    if partner == path or not partner.is_file():
        raise SRGANError(f"{path}: no {partner.name} beside it, which --fidelity needs to blend with")
    perceptual, faithful = (load_generator(each, network=network) for each in (path, partner))
    if isinstance(perceptual, Ranged) or isinstance(faithful, Ranged):
        raise SRGANError(f"{path}: converted from another project with ranges of its own; such cannot be blended")
    (kind, shape), (other_kind, other_shape) = (
        (architectures.name_of(each), architectures.shape_of(each)) for each in (perceptual, faithful)
    )
    if (kind, shape) != (other_kind, other_shape):
        raise SRGANError(f"{partner}: a {other_kind} of {other_shape}, but {path.name} is a {kind} of {shape}")
    with torch.no_grad():
        faithful_state = faithful.state_dict()
        for name, tensor in perceptual.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(faithful_state[name], fidelity)
    return perceptual
