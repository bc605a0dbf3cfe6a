"""Compare runs, one row each: ``python -m srgan_lit.runs FOLDER [FOLDER …]``. No torch."""

import argparse
import sys
from pathlib import Path

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.sweeps import run_table


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "runs",
        "Compare runs: one row each with what was changed, iterations and scores, the best first.",
        epilog="Example: srgan-runs runs/srgan/2026-01-31_12-00-00",
    )
    parser.add_argument("folder", nargs="+", type=Path, help="a run, a multirun, or any folder with runs below it")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write results.md, results.json and results.csv there")
    return parser


def _command(arguments: argparse.Namespace) -> int:
    found: dict[Path, list[Path]] = {}
    failures: list[str] = []
    for folder in arguments.folder:
        found[folder], unreadable = run_table.find(folder)
        failures += unreadable
        if not found[folder] and not unreadable:
            raise UsageError(f"{folder}: no run directory at or below it")
    rows = run_table.read(found)
    if not rows:
        raise SRGANError("; ".join(failures))
    sys.stdout.write(run_table.table(rows))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        run_table.write(arguments.out, rows)
    for failure in failures:
        command_line.complain(failure)
    return 1 if failures else 0


def main() -> None:
    """Console entry."""
    sys.exit(command_line.run(build_parser, _command))


if __name__ == "__main__":
    main()
