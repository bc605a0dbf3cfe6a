"""How fast this machine trains, enlarges and loads: ``python -m srgan_lit.benchmark``.

Everything is timed in rounds of one matrix product, one run of the package's way (ours), one matrix product and one
run of the textbook's way (see ``baseline.py``), so that load that comes and goes hits all of them. Ratios and shares
are taken within a round; the table gives their medians and ranges.

The floor of a step is its multiply-adds (``costs.py``: n·k forward for each convolution and linear layer, twice
that backward where weights learn, once where the gradient only passes through) over the rate of the matrix product
next to it: share = multiply_adds / rate / seconds. A share of 100 % is a step that does nothing but multiply, as
well as the machine can. Both ways are held to the floor of ours, which is the least that the algorithm needs.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srgan_lit import atomic, cli
from srgan_lit.errors import UsageError

if TYPE_CHECKING:
    import torch

    from srgan_lit.growth import Growth
    from srgan_lit.startup import Start
    from srgan_lit.workloads import Settings, Workload

TIMED = ("pretrain", "adversarial", "inference", "loader")
NAMES = (*TIMED, "startup", "growth")
_BATCHES = (2, 4, 8, 16)
_SIDES = (96, 192, 384, 768)  # pixels of the picture enlarged


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = cli.parser(
        "benchmark",
        "Time training steps, inference and loading, next to the same written the textbook way, and say what share "
        "of the machine's matrix-product rate they reach.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="5 blocks, batches of 4, 5 rounds, neither startup nor growth: a minute or two; else 16 blocks",
    )
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, metavar="NAME", help=f"some of {', '.join(NAMES)} (default: all)"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="crops per step (default: 16, or 4 if memory is short)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample, with the machine's description")
    return parser


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The samples of one workload, by round: seconds, and the matrix products before each in multiply-adds/s."""

    name: str
    unit: str
    work: float
    textbook_work: float
    multiply_adds: int
    details: dict[str, float]
    seconds: list[float]
    textbook_seconds: list[float]
    product_rate: list[float]
    textbook_product_rate: list[float]

    @property
    def rate(self) -> list[float]:
        """``unit`` per second."""
        return [self.work / seconds for seconds in self.seconds]

    @property
    def textbook_rate(self) -> list[float]:
        """``unit`` per second, the textbook's way."""
        return [self.textbook_work / seconds for seconds in self.textbook_seconds]

    @property
    def ratio(self) -> list[float]:
        """How many times the textbook's rate ours is."""
        return [ours / theirs for ours, theirs in zip(self.rate, self.textbook_rate, strict=True)]

    @property
    def share(self) -> list[float]:
        """Of the floor; empty where there are no multiply-adds."""
        return self._share(self.seconds, self.product_rate)

    @property
    def textbook_share(self) -> list[float]:
        """Of the same floor, the textbook's way."""
        return self._share(self.textbook_seconds, self.textbook_product_rate)

    def _share(self, seconds: list[float], rates: list[float]) -> list[float]:
        pairs = zip(seconds, rates, strict=True)
        return [self.multiply_adds / rate / took for took, rate in pairs] if self.multiply_adds else []

    def as_json(self) -> dict[str, Any]:
        """Everything measured and derived."""
        derived = ("rate", "textbook_rate", "ratio", "share", "textbook_share")
        return {**dataclasses.asdict(self), **{name: getattr(self, name) for name in derived}}


def measured(workload: "Workload", product: Callable[[], float], *, rounds: int) -> Result:
    """Time ``workload`` against its textbook way, in turns, after one round that is not counted."""
    samples: list[tuple[float, float, float, float]] = []
    for _ in range(rounds + 1):
        samples.append((product(), workload.ours(), product(), workload.textbook()))
    rates, ours, textbook_rates, textbook = (list(column) for column in zip(*samples[1:], strict=True))
    return Result(
        name=workload.name,
        unit=workload.unit,
        work=workload.work,
        textbook_work=workload.textbook_work,
        multiply_adds=workload.multiply_adds,
        details=workload.details,
        seconds=ours,
        textbook_seconds=textbook,
        product_rate=rates,
        textbook_product_rate=textbook_rates,
    )


def _settings(arguments: argparse.Namespace) -> "Settings":
    import torch

    from srgan_lit.upscaling import pick_device
    from srgan_lit.workloads import Settings

    name = arguments.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = pick_device(name)
    batch = arguments.batch
    if batch is None:
        batch = 4 if arguments.quick or _free_bytes(device) < 8 * 2**30 else 16
    if batch < 1:
        raise UsageError(f"--batch {batch}: must be at least 1")
    if arguments.quick:
        return Settings(device=device, blocks=5, batch=batch, side=96, tile=48)
    return Settings(device=device, blocks=16, batch=batch, side=192, tile=96)


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Started:
    """How long a command took to start, and the import next to it, by round, in seconds."""

    name: str
    beside: str
    seconds: list[float]
    import_seconds: list[float]

    @classmethod
    def of(cls, start: "Start", *, rounds: int) -> "Started":
        """Time both in turns, after one round that is not counted."""
        pairs = [start.seconds() for _ in range(rounds + 1)][1:]
        alone, seconds = (list(column) for column in zip(*pairs, strict=True))
        return cls(name=start.name, beside=start.beside, seconds=seconds, import_seconds=alone)

    @property
    def ratio(self) -> list[float]:
        """How many times the import's time the command's is."""
        return [ours / alone for ours, alone in zip(self.seconds, self.import_seconds, strict=True)]


def _spread(values: list[float], *, times: float = 1.0) -> str:
    """Median, and the range in brackets."""
    if not values:
        return "–"
    middle, least, most = (_short(each * times) for each in (statistics.median(values), min(values), max(values)))
    return f"{middle} [{least}, {most}]"


def _short(value: float) -> str:
    """Three significant digits, never an exponent."""
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def table(results: Sequence[Result]) -> Iterator[str]:
    """Lines of the table: each workload, ours and the textbook's way."""
    header = ("", "way", "ms for one", "per second", "% of floor", "ratio")
    rows = [header]
    for result in results:
        rows.append(
            (
                result.name,
                "ours",
                _spread([s / result.work for s in result.seconds], times=1e3),
                f"{_spread(result.rate)} {result.unit}",
                _spread(result.share, times=100),
                _spread(result.ratio),
            )
        )
        rows.append(
            (
                "",
                "textbook",
                _spread([s / result.textbook_work for s in result.textbook_seconds], times=1e3),
                f"{_spread(result.textbook_rate)} {result.unit}",
                _spread(result.textbook_share, times=100),
                "",
            )
        )
    yield from _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def startup_table(starts: Sequence[Started]) -> Iterator[str]:
    """Lines of the table: each command next to its import."""
    rows = [("start-up", "s", "import alone, s", "ratio")]
    for start in starts:
        alone = f"{_spread(start.import_seconds)} ({start.beside})"
        rows.append((start.name, _spread(start.seconds), alone, _spread(start.ratio)))
    yield from _aligned(rows)


def growth_table(grown: "Sequence[Growth]") -> Iterator[str]:
    """Lines of the table: each size, its time, its time for one unit, and its memory."""
    rows = [("growth", "size", "s", "ms for one", "peak memory, MB")]
    for one in grown:
        each = _short(1e3 * one.seconds / one.size)
        rows.append((one.name, one.label, _short(one.seconds), each, f"{one.peak_bytes / 1e6:,.0f}"))
    yield from _aligned(rows)


def command(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise UsageError(f"--json {arguments.json}: there is no folder {arguments.json.parent}")
    chosen = arguments.only or (TIMED if arguments.quick else NAMES)
    if arguments.batch is not None and not {"pretrain", "adversarial"} & set(chosen):
        raise UsageError(f"--batch {arguments.batch} has no effect without pretrain or adversarial; leave it out")
    from tqdm import tqdm

    from srgan_lit import growth, startup, workloads

    settings = _settings(arguments)
    rounds = 5 if arguments.quick else 7
    on_gpu = settings.device.type == "cuda"
    arithmetics = ("tf32", "float32", "bfloat16") if on_gpu else ("float32",)
    products = {name: workloads.matrix_product(settings.device, name) for name in arithmetics}
    floor = products[arithmetics[0]]
    rates = {name: [product() for _ in range(rounds)] for name, product in products.items()}
    results = []
    starts, grown = [], []
    with tqdm([name for name in NAMES if name in chosen], unit="part", disable=None) as bar:
        for name in bar:
            bar.set_description(name)
            if name == "startup":
                starts = [Started.of(start, rounds=rounds) for start in startup.starts()]
            elif name == "growth":
                grown = list(growth.measured(blocks=settings.blocks, batches=_BATCHES, sides=_SIDES))
            else:
                for workload in getattr(workloads, name)(settings):
                    results.append(measured(workload, floor, rounds=rounds))
    rates[arithmetics[0]] += [rate for r in results for rate in (*r.product_rate, *r.textbook_product_rate)]

    machine = _machine(settings.device)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    out = [
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"torch {machine['torch']}; B = {settings.blocks}, batches of {settings.batch}; "
        f"medians of {rounds} rounds [least, most]",
        *(f"matrix product, {name}: {_spread(r, times=1e-9)} G multiply-adds/s" for name, r in rates.items()),
        "",
        *(table(results) if results else ()),
    ]
    for details in (result.details for result in results if result.details):
        out += [
            "",
            f"packing, once: {details['packing_pictures_per_second']:.0f} pictures/s; with "
            f"{details['pixel_bytes_more'] / 1e6:.1f} MB more of pictures a pass over them takes "
            f"{details['anonymous_bytes_more'] / 1e6:+.1f} MB of anonymous memory",
        ]
    if starts:
        out += ["", *startup_table(starts)]
    if grown:
        out += ["", *growth_table(grown)]
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
            "settings": {**dataclasses.asdict(settings), "device": str(settings.device), "rounds": rounds},
            "matrix_product": rates,
            "results": [result.as_json() for result in results],
            "startup": [{**dataclasses.asdict(start), "ratio": start.ratio} for start in starts],
            "growth": [dataclasses.asdict(one) for one in grown],
        }
        atomic.write_text(arguments.json, json.dumps(document, indent=1) + "\n")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return cli.run(build_parser, command, argv)


if __name__ == "__main__":
    sys.exit(main())
