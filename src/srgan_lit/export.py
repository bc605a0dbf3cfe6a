"""Export a generator for other programs: ``python -m srgan_lit.export MODEL -o FILE.onnx`` (or ``.pth``, ``.pt2``)."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from srgan_lit.model_files.generator_file import Ranged
    from srgan_lit.networks.srresnet import Generator

TOLERANCE = 1e-4  # largest difference in [0, 1] that rounding in another order may make; 1/40 of an 8-bit level
# (B, h, w) to check with: odd sides, a batch, and sides as short as they get.
SIZES = ((1, 24, 31), (3, 17, 9), (1, 1, 5), (2, 40, 40))


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "export",
        "Write a generator for other programs, and check that it computes the same there. By the suffix of FILE: .onnx "
        "and .pt2 (torch.export) take any batch, height and width, RGB in [0, 1]; .pth is a plain state dict.",
    )
    parser.add_argument("model", metavar="MODEL", help="bundled name, .safetensors, run directory or .ckpt")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    return parser


def _write_onnx(generator: "Generator | Ranged", path: Path) -> None:
    import torch

    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SRGANError(f"{error.name} is not installed: pip install 'srgan_lit[onnx]'") from error
    torch.onnx.export(
        generator,
        (torch.rand(2, 3, 20, 24),),
        path,
        input_names=["lr"],
        output_names=["sr"],
        dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _read_onnx(path: Path) -> "Callable[[Tensor], Tensor]":
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda lr: torch.from_numpy(session.run(["sr"], {"lr": lr.numpy()})[0])


def _write_pt2(generator: "Generator | Ranged", path: Path) -> None:
    import torch

    # Not Dim.AUTO: it would specialise silently where this raises.
    batch, height, width = torch.export.Dim("batch"), torch.export.Dim("height"), torch.export.Dim("width")
    program = torch.export.export(
        generator, (torch.rand(2, 3, 20, 24),), dynamic_shapes=({0: batch, 2: height, 3: width},)
    )
    torch.export.save(program, path)


def _read_pt2(path: Path) -> "Callable[[Tensor], Tensor]":
    import torch

    return torch.export.load(path).module()


def _write_pth(generator: "Generator | Ranged", path: Path) -> None:
    import torch

    from srgan_lit.model_files.generator_file import Ranged

    if isinstance(generator, Ranged):
        raise SRGANError(
            f"a state dict cannot say that this generator takes {generator.input_range} and gives "
            f"{generator.output_range}: export .onnx or .pt2"
        )
    torch.save(generator.state_dict(), path)


def _read_pth(path: Path) -> "Callable[[Tensor], Tensor]":
    from srgan_lit.model_files import other_projects

    return other_projects.convert(path).generator


_WRITERS = {".onnx": (_write_onnx, _read_onnx), ".pt2": (_write_pt2, _read_pt2), ".pth": (_write_pth, _read_pth)}


def largest_difference(generator: "Generator | Ranged", exported: "Callable[[Tensor], Tensor]") -> float:
    """Between two generators' results for random pictures of several batch sizes, heights and widths."""
    import torch

    draw = torch.Generator().manual_seed(0)
    worst = 0.0
    with torch.inference_mode():
        for batch, height, width in SIZES:
            lr = torch.rand(batch, 3, height, width, generator=draw)
            theirs, ours = exported(lr), generator(lr)
            if theirs.shape != ours.shape:
                raise SRGANError(f"gives {tuple(theirs.shape)} for {tuple(lr.shape)}, not {tuple(ours.shape)}")
            worst = max(worst, float((theirs - ours).abs().max()))
    return worst


def run(arguments: argparse.Namespace) -> int:
    """The command, after parsing; returns the exit status."""
    output: Path = arguments.output
    if output.suffix not in _WRITERS:
        raise UsageError(f"{output}: the suffix says what to write: {', '.join(_WRITERS)}")
    if output.exists() and not arguments.overwrite:
        raise UsageError(f"{output} exists: add --overwrite")

    import logging
    import warnings

    from srgan_lit.common import atomic_files
    from srgan_lit.model_files import generator_file

    write, read = _WRITERS[output.suffix]
    generator = generator_file.load_generator(arguments.model).requires_grad_(False)
    output.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), atomic_files.replacing(output) as temporary:
        if not arguments.debug:  # exporters warn at length of what the check below answers
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        try:
            write(generator, temporary)
        finally:
            logging.disable(logging.NOTSET)
        worst = largest_difference(generator, read(temporary))
        if worst > TOLERANCE:
            raise SRGANError(f"{output}: not written: it differs from torch by {worst:.2g}, more than {TOLERANCE:g}")
    print(f"{output}: written; largest difference from torch on {len(SIZES)} random sizes: {worst:.2g}")  # noqa: T201
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``srgan-export``."""
    return command_line.run(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
