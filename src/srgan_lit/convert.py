"""Convert generators that other projects trained: ``python -m srgan_lit.convert THEIRS.pth -o OURS.safetensors``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError, UsageError

INPUT_RANGES = ("unit", "signed", "imagenet")
OUTPUT_RANGES = ("unit", "tanh", "tanh_imagenet")


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "convert",
        "Convert a generator trained by another project. Which one is seen from the names of its tensors; nothing in "
        "the file is executed.",
    )
    parser.add_argument(
        "theirs", type=Path, metavar="THEIRS", help="state dict or checkpoint (.pth, .pt, .safetensors)"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OURS.safetensors")
    parser.add_argument("--key", help="which dictionary of the file, as in --key ema_state_dict (default: the usual)")
    parser.add_argument(
        "--input-range",
        choices=INPUT_RANGES,
        help="what the network was trained to take, if not what its project does: [0, 1], [-1, 1], or ImageNet's "
        "normalisation",
    )
    parser.add_argument(
        "--output-range", choices=OUTPUT_RANGES, help="what it gives: [0, 1], or a tanh for [-1, 1] or for ImageNet's"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OURS if it exists")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """The command, after parsing; returns the exit status."""
    if arguments.output.suffix != ".safetensors":
        raise UsageError(f"{arguments.output}: a generator file ends with .safetensors")
    if arguments.output.exists() and not arguments.overwrite:
        raise UsageError(f"{arguments.output} exists: add --overwrite")

    from srgan_lit.model_files import generator_file, other_projects

    try:
        generator_file.read_metadata(arguments.theirs)
    except SRGANError:
        pass  # as it should be
    else:
        raise UsageError(f"{arguments.theirs}: is a generator file of this package already; use it as it is")
    converted = other_projects.convert(arguments.theirs, key=arguments.key)
    input_range = arguments.input_range or converted.input_range
    output_range = arguments.output_range or converted.output_range
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    generator_file.save_generator(
        arguments.output,
        converted.generator,
        input_range=input_range,
        output_range=output_range,
        trained={"converted_from": converted.project, "file": arguments.theirs.name},
    )
    ranges = f"input range: {input_range}; output range: {output_range}"
    print("\n".join([*converted.report, ranges, f"written: {arguments.output}"]))  # noqa: T201
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``srgan-convert``."""
    return command_line.run(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
