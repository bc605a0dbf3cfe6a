"""Compare runs, one row each: ``python -m srgan_lit.runs FOLDER [FOLDER …]``. No torch."""

import argparse
import sys
from pathlib import Path

from srgan_lit.common import command_line
from srgan_lit.common.errors import UsageError
from srgan_lit.pictures import find
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
    for folder in arguments.folder:
        for closed, why in find.unreadable(folder):
            command_line.complain(f"{closed}: this folder cannot be read ({why})")
        if not run_table.find(folder):
            raise UsageError(f"{folder}: no run directory at or below it")
    found = run_table.read(arguments.folder)
    sys.stdout.write(run_table.table(found))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        run_table.write(arguments.out, found)
    return 0


def main() -> None:
    """Console entry."""
    sys.exit(command_line.run(build_parser, _command))


if __name__ == "__main__":
    main()
