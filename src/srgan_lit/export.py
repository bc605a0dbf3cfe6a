"""Export a generator for other programs: ``python -m srgan_lit.export MODEL -o FILE.onnx`` (or ``.pth``, ``.pt2``)."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.common.numbers import whole_number

if TYPE_CHECKING:
    from torch import Tensor

    from srgan_lit.model_files.generator_file import Ranged
    from srgan_lit.networks.srresnet import Generator

# Largest difference from torch in float32 that rounding may make, in [0, 1]: in another order, a fortieth of an 8-bit
# level; in float16, whose own steps below 1 are an eighth of one, five levels; to 8 bits, one level.
TOLERANCES = {"float32": 1e-4, "float16": 0.02, "uint8": 1 / 255 + 1e-6, "uint8, float16": 0.02}
OPSETS = range(18, 24)
# (B, h, w) to check with: odd sides, a batch, and sides as short as they get.
SIZES = ((1, 24, 31), (3, 17, 9), (1, 1, 5), (2, 40, 40))


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "export",
        "Write a generator for other programs, and check that it computes the same there. By the suffix of FILE: .onnx "
        "and .pt2 (torch.export) take any batch, height and width, RGB in [0, 1]; .pth is a plain state dict.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="name in the box (srgan-upscale --list-models), .safetensors, run directory or .ckpt",
    )
    command_line.add_network(parser)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--uint8", action="store_true", help=".onnx: takes and gives 8-bit pixels, clamped, instead of [0, 1]"
    )
    parser.add_argument(
        "--float16", action="store_true", help=".onnx: computes in float16 (and takes and gives it, without --uint8)"
    )
    parser.add_argument(
        "--opset", type=whole_number, choices=OPSETS, help=".onnx: the version of its operators (default: torch's)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    return parser


@dataclass(frozen=True, kw_only=True)
class Form:
    """How an ONNX file computes, and what it takes and gives."""

    uint8: bool = False
    float16: bool = False
    opset: int | None = None

    @property
    def name(self) -> str:
        """``float32`` or ``float16``; with ``uint8`` before where pixels go in and out."""
        computed = "float16" if self.float16 else "float32"
        return computed if not self.uint8 else "uint8" if not self.float16 else f"uint8, {computed}"


def _inner(generator: "Generator | Ranged") -> "Generator":
    from srgan_lit.model_files.generator_file import Ranged

    return generator.generator if isinstance(generator, Ranged) else generator


def _plain(generator: "Generator | Ranged") -> "Generator | Ranged":
    """A copy whose convolutions have the weights that they use: exporters write down every operation."""
    import copy

    from srgan_lit.networks import srresnet

    copied = copy.deepcopy(generator)
    if isinstance(_inner(copied), srresnet.Generator):
        srresnet.with_plain_convolutions_(_inner(copied))
    return copied


def _write_onnx(generator: "Generator | Ranged", path: Path, form: Form, model: str) -> None:
    import json

    import torch

    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SRGANError(f"{error.name} is not installed: pip install 'srgan_lit[onnx]'") from error

    from srgan_lit.networks import architectures

    class Pixels(torch.nn.Module):
        """Takes and gives uint8: the range changed, and what overshoots clamped, as for a picture file."""

        def __init__(self, generator: torch.nn.Module, dtype: torch.dtype) -> None:
            super().__init__()
            self.generator, self.dtype = generator, dtype

        def forward(self, lr: "Tensor") -> "Tensor":
            sr = self.generator(lr.to(self.dtype) / 255)  # float again: float16 has no half of the highest levels
            return (sr.float().clamp(0, 1) * 255).round().to(torch.uint8)

    dtype = torch.float16 if form.float16 else torch.float32
    network = _plain(generator).to(dtype)
    example = torch.rand(2, 3, 20, 24)
    torch.onnx.export(
        Pixels(network, dtype) if form.uint8 else network,
        ((example * 255).to(torch.uint8) if form.uint8 else example.to(dtype),),
        path,
        input_names=["lr"],
        output_names=["sr"],
        dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
        dynamo=True,
        external_data=False,
        verbose=False,
        opset_version=form.opset,
    )
    written = onnx.load(path)
    opset = next(each.version for each in written.opset_import if each.domain in ("", "ai.onnx"))
    if form.opset not in (None, opset):
        raise SRGANError(f"--opset {form.opset}: the exporter can write these operators as opset {opset} only")
    written.producer_name = "srgan_lit"
    about = {
        "model": model.encode(errors="backslashreplace").decode(),  # of a file whose name may be no UTF-8
        "scale": str(generator.scale),
        "layout": "NCHW, RGB",
        "range": "uint8, 0 to 255" if form.uint8 else "[0, 1]; sr may overshoot: clamp it",
        "computes_in": "float16" if form.float16 else "float32",
        "network": architectures.name_of(_inner(generator)),
        "architecture": json.dumps(architectures.shape_of(_inner(generator))),
    }
    onnx.helper.set_model_props(written, about)
    path.write_bytes(written.SerializeToString())


def _read_onnx(path: Path) -> "Callable[[Tensor], Tensor]":
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    kind = session.get_inputs()[0].type

    def computed(lr: "Tensor") -> "Tensor":
        """``sr`` in [0, 1], whatever the file takes and gives."""
        given = (lr * 255).round().to(torch.uint8) if "uint8" in kind else lr.half() if "float16" in kind else lr
        sr = torch.from_numpy(session.run(["sr"], {"lr": given.numpy()})[0])
        return sr.float() / 255 if "uint8" in kind else sr.float()

    return computed


def _write_pt2(generator: "Generator | Ranged", path: Path, form: Form, model: str) -> None:
    import torch

    # Not Dim.AUTO: it would specialise silently where this raises.
    batch, height, width = torch.export.Dim("batch"), torch.export.Dim("height"), torch.export.Dim("width")
    program = torch.export.export(
        _plain(generator), (torch.rand(2, 3, 20, 24),), dynamic_shapes=({0: batch, 2: height, 3: width},)
    )
    torch.export.save(program, path)


def _read_pt2(path: Path) -> "Callable[[Tensor], Tensor]":
    import torch

    return torch.export.load(path).module()


def _write_pth(generator: "Generator | Ranged", path: Path, form: Form, model: str) -> None:
    import torch

    from srgan_lit.model_files.generator_file import Ranged
    from srgan_lit.networks import srresnet

    if isinstance(generator, Ranged):
        raise SRGANError(
            f"a state dict cannot say that this generator takes {generator.input_range} and gives "
            f"{generator.output_range}: export .onnx or .pt2"
        )
    if not isinstance(generator, srresnet.Generator):
        raise SRGANError("a state dict cannot be read back without its class, which is your own: export .onnx or .pt2")
    torch.save(generator.state_dict(), path)


def _read_pth(path: Path) -> "Callable[[Tensor], Tensor]":
    from srgan_lit.model_files import other_projects

    return other_projects.convert(path).generator


_WRITERS = {".onnx": (_write_onnx, _read_onnx), ".pt2": (_write_pt2, _read_pt2), ".pth": (_write_pth, _read_pth)}


def largest_difference(generator: "Generator | Ranged", exported: "Callable[[Tensor], Tensor]", form: Form) -> float:
    """Between two generators' results in [0, 1] for random pictures of several batch sizes, heights and widths."""
    import torch

    draw = torch.Generator().manual_seed(0)
    worst = 0.0
    with torch.inference_mode():
        for batch, height, width in SIZES:
            lr = torch.randint(256, (batch, 3, height, width), generator=draw) / 255
            exported_sr, sr = exported(lr), generator(lr)
            if exported_sr.shape != sr.shape:
                raise SRGANError(f"gives {tuple(exported_sr.shape)} for {tuple(lr.shape)}, not {tuple(sr.shape)}")
            sr = sr.clamp(0, 1) if form.uint8 else sr
            worst = max(worst, float((exported_sr - sr).abs().max()))
    return worst


def _named(model: str) -> str:
    """The model's name as its file or run directory has it, without the folders above."""
    path = Path(model)
    return path.stem if path.is_file() else path.resolve().name


def run(arguments: argparse.Namespace) -> int:
    """The command, after parsing; returns the exit status."""
    output: Path = arguments.output
    if output.suffix not in _WRITERS:
        raise UsageError(f"{output}: the suffix says what to write: {', '.join(_WRITERS)}")
    if output.exists() and not arguments.overwrite:
        raise UsageError(f"{output} exists: add --overwrite")
    form = Form(uint8=arguments.uint8, float16=arguments.float16, opset=arguments.opset)
    if output.suffix != ".onnx" and form != Form():
        raise UsageError(f"{output}: --uint8, --float16 and --opset are of .onnx alone")

    import logging
    import warnings

    from srgan_lit.common import atomic_files
    from srgan_lit.config import own_parts
    from srgan_lit.model_files import generator_file
    from srgan_lit.upscaling import named_models

    write, read = _WRITERS[output.suffix]
    network = own_parts.named_class(arguments.network)
    generator = generator_file.load_generator(arguments.model, network=network).requires_grad_(False)
    named_models.refuse_unused(network, [generator])
    output.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), atomic_files.replacing(output) as temporary:
        if not arguments.debug:  # exporters warn at length of what the check below answers
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        try:
            write(generator, temporary, form, _named(arguments.model))
        finally:
            logging.disable(logging.NOTSET)
        worst, allowed = largest_difference(generator, read(temporary), form), TOLERANCES[form.name]
        if not worst <= allowed:  # NaN too
            raise SRGANError(f"{output}: not written: it differs from torch by {worst:.2g}, more than {allowed:.2g}")
    print(f"{output}: written; largest difference from torch on {len(SIZES)} random sizes: {worst:.2g}")  # noqa: T201
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``srgan-export``."""
    return command_line.run(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
