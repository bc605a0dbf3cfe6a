"""Measure how fast this machine trains, enlarges and loads: ``python -m srgan_lit.benchmark``.

Everything is timed in rounds: the package's way (ours), the textbook's (``benchmarking/textbook.py``) and, of training
steps and inference, the strongest arrangement known in plain PyTorch (``benchmarking/lean.py``), each once, with a
matrix product before it, so that load that comes and goes hits all of them. Ratios and shares are taken within a
round; the table gives their medians and ranges.

The floor of a step is its multiply-adds (``benchmarking/multiply_adds.py``: n·k forward for each convolution and
linear layer, twice that backward where weights learn, once where the gradient only passes through) over the rate of
the matrix product next to it: share = multiply_adds / rate / seconds. A share of 100 % is a step that does nothing but
multiply, as well as the machine can. All ways are held to the floor of ours, the least that the algorithm needs.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srgan_lit.benchmarking.results import measured, spread, table
from srgan_lit.common import atomic_files, command_line, freed_memory, worker_processes
from srgan_lit.common.errors import UsageError
from srgan_lit.common.numbers import whole_number

if TYPE_CHECKING:
    import torch

    from srgan_lit.benchmarking.workloads import Settings

NAMES = ("pretrain", "adversarial", "inference", "loader")


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "benchmark",
        "Time training steps, inference and loading, next to the same written the textbook way and as lean as plain "
        "PyTorch allows, and say what share of the machine's matrix-product rate they reach.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="5 blocks, batches of 4, 5 rounds: a minute or two; else 16 blocks",
    )
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, metavar="NAME", help=f"some of {', '.join(NAMES)} (default: all)"
    )
    parser.add_argument(
        "--blocks", type=whole_number, metavar="N", help="of the generator (default: 16, or 5 with --quick)"
    )
    parser.add_argument(
        "--upsampling",
        choices=("pixelshuffle", "nearest"),
        default="pixelshuffle",
        help="of the generator: the paper's, or repeated pixels and convolutions",
    )
    parser.add_argument(
        "--precision",
        choices=("32-true", "bf16-mixed"),
        default="32-true",
        help="of training steps; shares are of the matrix product's rate in the same arithmetic",
    )
    parser.add_argument(
        "--batch", type=whole_number, metavar="N", help="crops per step (default: 16, or 4 if memory is short)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--threads", type=_threads, default=1, metavar="N", help="of the processor; all: as many as it has (default: 1)"
    )
    parser.add_argument(
        "--keep-memory",
        action="store_true",
        help="keep freed memory in the process, as trainings on a processor and upscale do, whichever way is timed",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample, with the machine's description")
    return parser


def _threads(given: str) -> int:
    most = worker_processes.processors()
    try:
        count = most if given == "all" else whole_number(given)
    except ValueError:
        count = 0
    if not 1 <= count <= most:
        raise argparse.ArgumentTypeError(f"{given}: may be 1 to {most}, which this process may use, or all")
    return count


def _settings(arguments: argparse.Namespace) -> "Settings":
    import torch

    from srgan_lit.benchmarking.workloads import Settings
    from srgan_lit.upscaling.engine import pick_device

    name = arguments.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = pick_device(name)
    batch = arguments.batch
    if batch is None:
        batch = 4 if arguments.quick or _free_bytes(device) < 8 * 2**30 else 16
    if batch < 1:
        raise UsageError(f"--batch {batch}: must be at least 1")
    blocks = (5 if arguments.quick else 16) if arguments.blocks is None else arguments.blocks
    if blocks < 1:
        raise UsageError(f"--blocks {blocks}: must be at least 1")
    side, tile = (96, 48) if arguments.quick else (192, 96)
    return Settings(
        device=device,
        blocks=blocks,
        batch=batch,
        side=side,
        tile=tile,
        precision=arguments.precision,
        upsampling=arguments.upsampling,
    )


def _free_bytes(device: "torch.device") -> int:
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _machine(device: "torch.device") -> dict[str, Any]:
    import torch

    cpu = platform.processor() or platform.machine()
    if (listed := Path("/proc/cpuinfo")).is_file():
        models = [line.partition(":")[2].strip() for line in listed.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def command(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise UsageError(f"--json {arguments.json}: there is no folder {arguments.json.parent}")
    chosen = arguments.only or NAMES
    for option, given in (("batch", arguments.batch), ("precision", arguments.precision)):
        if given not in (None, "32-true") and not {"pretrain", "adversarial"} & set(chosen):
            raise UsageError(f"--{option} {given} has no effect without pretrain or adversarial; leave it out")
    for option, given in (("blocks", arguments.blocks), ("upsampling", arguments.upsampling)):
        if given not in (None, "pixelshuffle") and list(chosen) == ["loader"]:
            raise UsageError(f"--{option} {given} has no effect on the loader; leave it out")
    import torch

    settings = _settings(arguments)
    if arguments.keep_memory and settings.device.type == "cuda":
        raise UsageError("--keep-memory has no effect on a GPU; leave it out, or measure with --device cpu")
    if arguments.keep_memory and not freed_memory.keep():
        raise UsageError("--keep-memory has no effect here: glibc alone can be told to; leave it out")
    before = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        _measure(arguments, chosen, settings)
    finally:
        torch.set_num_threads(before)
    return 0


def _measure(arguments: argparse.Namespace, chosen: Sequence[str], settings: "Settings") -> None:
    from tqdm import tqdm

    from srgan_lit.benchmarking import workloads

    rounds = 5 if arguments.quick else 7
    on_gpu = settings.device.type == "cuda"
    mixed = settings.precision == "bf16-mixed"
    arithmetics = ("tf32", "float32", "bfloat16") if on_gpu else ("float32", "bfloat16") if mixed else ("float32",)
    products = {name: workloads.matrix_product(settings.device, name) for name in arithmetics}
    full, trained = arithmetics[0], "bfloat16" if mixed else arithmetics[0]
    rates = {name: [product() for _ in range(rounds)] for name, product in products.items()}
    results = []
    with tqdm([name for name in NAMES if name in chosen], unit="part", disable=None) as bar:
        for name in bar:
            bar.set_description(name)
            arithmetic = trained if name in ("pretrain", "adversarial") else full
            with contextlib.closing(getattr(workloads, name)(settings)) as pieces:  # a signal ends one half-way
                for workload in pieces:
                    results.append(measured(workload, products[arithmetic], rounds=rounds))
                    rates[arithmetic] += [rate for way in results[-1].ways.values() for rate in way.product_rate]

    machine = _machine(settings.device)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    out = [
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores, "
        f"{machine['threads']} thread{'s' * (machine['threads'] > 1)}, torch {machine['torch']}; "
        f"{'freed memory kept; ' * arguments.keep_memory}B = {settings.blocks}, "
        f"{'upsampling nearest, ' * (settings.upsampling == 'nearest')}batches of {settings.batch}, "
        f"{settings.precision}; medians of {rounds} rounds [least, most]",
        *(f"matrix product, {name}: {spread(r, times=1e-9)} G multiply-adds/s" for name, r in rates.items()),
        "",
        table(results),
    ]
    peaks = [(result.name, result.details["peak_bytes"]) for result in results if "peak_bytes" in result.details]
    out += ["", *(f"{name}: {peak / 1e9:.2f} GB of the GPU at the peak" for name, peak in peaks)] if peaks else []
    for details in (result.details for result in results if "packing_pictures_per_second" in result.details):
        out += [
            "",
            f"packing, once: {details['packing_pictures_per_second']:.0f} pictures/s; with "
            f"{details['pixel_bytes_more'] / 1e6:.1f} MB more of pictures a pass over them takes "
            f"{details['anonymous_bytes_more'] / 1e6:+.1f} MB of anonymous memory",
        ]
    out += [
        "",
        "Other load on the machine spoils these numbers: compare ratios, and trust nothing if the matrix product's "
        "rate varied much" + ("." if load is None else f" (load average now {load:.1f})."),
    ]
    sys.stdout.write("\n".join(out) + "\n")
    if arguments.json is not None:
        document = {
            "machine": machine,
            "load_average": load,
            "settings": {
                **dataclasses.asdict(settings),
                "device": str(settings.device),
                "rounds": rounds,
                "keep_memory": arguments.keep_memory,
            },
            "matrix_product": rates,
            "results": [result.as_json() for result in results],
        }
        atomic_files.write_text(arguments.json, json.dumps(document, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return command_line.run(build_parser, command, argv)


if __name__ == "__main__":
    sys.exit(main())
