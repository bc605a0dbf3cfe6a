"""Runs side by side, one row each. No torch."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors

from srgan_lit.common import atomic_files, text_tables
from srgan_lit.common.errors import SRGANError
from srgan_lit.evaluation import run_curves, stored_results
from srgan_lit.evaluation.stored_results import Column
from srgan_lit.pictures.find import unreadable_line

OVERRIDES = ".hydra/overrides.yaml"  # what was set on the command line
FAILURE = "failure.txt"  # in a job's folder: why it failed, in its first line

# What a sweep can judge runs by, and what is better.
DIRECTIONS = {"psnr": "maximize", "perceptual": "minimize"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run directory.

    Attributes:
        name: its path below the folder that was asked for.
        overrides: what was set on its command line.
        iterations: those that the generator with these scores was trained for; without scores the last one in
            ``metrics.csv``, or 0.
        objective: the key of ``DIRECTIONS`` that its configuration names.
        scores: (data set, column) to the mean over the pictures by the run's result, from ``report/results.json``.
        failure: why there are no scores; "" where there are.
    """

    name: str
    overrides: tuple[str, ...]
    iterations: int
    objective: str
    scores: dict[tuple[str, Column], float]
    failure: str

    @property
    def rank(self) -> float:
        """By the objective on the validation pictures, the best lowest; what has no value comes last."""
        for (dataset, column), value in self.scores.items():
            if dataset == "validation" and column.objective == self.objective and not math.isnan(value):
                return value if column.best == "min" else -value
        return math.inf


def find(folder: Path) -> tuple[list[Path], list[str]]:
    """The run directories at or below ``folder``, and one line for each folder that cannot be read.

    Run directories are in the order of their names, numbers as numbers.
    """
    runs: list[Path] = []
    refusals: list[OSError] = []
    for path, folders, files in os.walk(folder, onerror=refusals.append):
        if {"config.yaml", FAILURE} & set(files):
            runs.append(Path(path))
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
    runs.sort(key=lambda path: [(part.isdigit(), part.zfill(9)) for part in path.parts])
    return runs, sorted(map(unreadable_line, refusals))


def read(found: Mapping[Path, Sequence[Path]]) -> list[Run]:
    """The run directories that were found in each folder, the best first."""
    several = len(found) > 1
    runs = [_read(run, folder.parent if several else folder) for folder, each in found.items() for run in each]
    return sorted(runs, key=lambda run: run.rank)


def _read(folder: Path, above: Path) -> Run:
    from srgan_lit.config import plain_yaml

    damaged: list[str] = []

    def listed(name: str) -> object:
        try:
            return plain_yaml.read(folder / name) if (folder / name).is_file() else None
        except SRGANError as error:
            damaged.append(f"{name} is damaged ({error})")
            return None

    config, overrides = listed("config.yaml"), listed(OVERRIDES)
    report, curve, failed = folder / "report" / "results.json", folder / "metrics.csv", folder / FAILURE
    failure = failed.read_text(encoding="utf-8", errors="replace").partition("\n")[0] if failed.is_file() else ""
    scores: dict[tuple[str, Column], float] = {}
    try:
        stored = stored_results.read(report) if report.is_file() else None
    except SRGANError as error:
        stored = None
        damaged.append(str(error))
    for row in stored.rows if stored else ():  # of a data set, the result is last
        scores |= {(row["dataset"], column): stored.value(row, column) for column in stored.columns}  # type: ignore[union-attr]
    steps = [points[-1][0] for points in run_curves.read(curve).values()]
    return Run(
        name=str(folder.relative_to(above)) if folder != above else folder.name,
        overrides=tuple(map(str, overrides)) if isinstance(overrides, list) else (),
        iterations=(scores and _trained(folder / "generator.safetensors")) or int(max(steps, default=0)),
        objective=str(config.get("objective", "psnr")) if isinstance(config, dict) else "psnr",
        scores=scores,
        failure=failure or "; ".join(damaged) or ("" if scores else "no report: still running, or stopped"),
    )


def _trained(path: Path) -> int:
    """The iterations that a generator file says it was trained for; 0 where it cannot be read or does not say."""
    try:
        with safetensors.safe_open(path, framework="numpy") as opened:
            trained = json.loads((opened.metadata() or {}).get("trained", "{}"))
        return int(trained["iterations"])
    except Exception:  # removed, damaged, or by another program: the table has other columns
        return 0


def _cells(runs: Sequence[Run]) -> list[list[str]]:
    """Heading and rows. Of the overrides, those that not all runs share."""
    shared = set.intersection(*(set(run.overrides) for run in runs)) if len(runs) > 1 else set()
    columns = list(dict.fromkeys(place for run in runs for place in run.scores))
    lines = [
        ["run", "changed", "iterations", *(f"{dataset} {column.heading}" for dataset, column in columns), "failed"]
    ]
    for run in runs:
        scores = [column.show(run.scores.get((dataset, column), math.nan)) for dataset, column in columns]
        changed = " ".join(override for override in run.overrides if override not in shared)
        lines.append([run.name, changed, str(run.iterations), *scores, run.failure])
    if not any(run.failure for run in runs):
        lines = [line[:-1] for line in lines]
    return lines


def table(runs: Sequence[Run]) -> str:
    """The table as text: aligned for a terminal, and Markdown to paste."""
    lines = _cells(runs)
    return text_tables.markdown(lines, left=[name in ("run", "changed", "failed") for name in lines[0]])


def as_json(runs: Sequence[Run]) -> str:
    """A list of runs in the order of the table; null where a score is not finite."""
    listed = []
    for run in runs:
        scores: dict[str, dict[str, float | None]] = {}
        for (dataset, column), value in run.scores.items():
            scores.setdefault(dataset, {})[column.key] = value if math.isfinite(value) else None
        known = {"run": run.name, "overrides": list(run.overrides), "iterations": run.iterations}
        listed.append({**known, "objective": run.objective, "scores": scores, "failed": run.failure or None})
    return json.dumps({"runs": listed}, indent=1, ensure_ascii=False) + "\n"


def as_csv(runs: Sequence[Run]) -> str:
    """The table with commas."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_cells(runs))
    return text.getvalue()


def write(out: Path, runs: Sequence[Run]) -> None:
    """Write ``results.md``, ``results.json`` and ``results.csv`` into ``out``, which exists."""
    atomic_files.write_text(out / "results.md", table(runs))
    atomic_files.write_text(out / "results.json", as_json(runs))
    atomic_files.write_text(out / "results.csv", as_csv(runs))
