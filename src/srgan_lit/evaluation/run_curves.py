"""A run's ``metrics.csv`` as curves for the report. No drawing library: the report has them as inline SVG."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Coordinates of a drawing, in SVG units.
WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 8, 24

_MOST_POINTS = 300  # more than a screen can show; each stands for the mean of a stretch


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run's curve: SVG ``points``, and its ``last`` value as text. ``index`` tells the runs' colours apart."""

    run: str
    index: int
    points: str
    last: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One metric of all runs: ``ticks`` are (position, text) along each axis."""

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    logarithmic: bool


Points = list[tuple[float, float]]


def read(path: Path) -> dict[str, Points]:
    """(iteration, value) of every metric in ``metrics.csv``, in order. Empty and not-finite values are left out.

    A file that is not there has none: somebody removed it, and the rest of the run can still be told.
    """
    found: dict[str, Points] = {}
    if not path.is_file():
        return found
    with path.open(newline="", encoding="utf-8") as opened:
        for row in csv.DictReader(opened):
            try:
                step = float(row["step"])
            except (KeyError, TypeError, ValueError):
                continue  # no metrics.csv of a run, or a line cut short by a kill
            for name, text in row.items():
                if name in ("step", "epoch", None) or not text:
                    continue
                try:
                    value = float(text)
                except (TypeError, ValueError):
                    continue
                if math.isfinite(value):
                    found.setdefault(name, []).append((step, value))
    return {name: sorted(points) for name, points in found.items()}


def _thinned(points: Points) -> Points:
    """At most ``_MOST_POINTS``: each stretch of neighbours becomes its mean."""
    size = -(-len(points) // _MOST_POINTS)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _short(value: float) -> str:
    """For an axis: 20000 as 20k, 0.00012 as 1.2e-4."""
    size = abs(value)
    if size >= 10_000:
        return f"{value / 1000:.4g}k" if size < 1e6 else f"{value / 1e6:.4g}M"
    if 0 < size < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.4g}"


def _round_ticks(low: float, high: float) -> list[float]:
    """A few round numbers from ``low`` to ``high``."""
    rough = (high - low) / 5
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def panels(runs: Mapping[str, Path]) -> list[Panel]:
    """One panel per metric of the ``metrics.csv`` files in these run directories (by display name).

    An axis is logarithmic where all values are positive and span more than a factor of 50.
    """
    by_metric: dict[str, dict[str, Points]] = {}
    for run, folder in runs.items():
        for name, points in read(folder / "metrics.csv").items():
            by_metric.setdefault(name, {})[run] = _thinned(points)
    order = sorted(by_metric, key=lambda name: (not name.startswith("val/"), name))
    return [_panel(name, by_metric[name], list(runs)) for name in order]


def _panel(title: str, curves: dict[str, Points], runs: list[str]) -> Panel:
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > 50

    def height(y: float) -> float:
        return math.log10(y) if logarithmic else y

    low, high = height(min(ys)), height(max(ys))
    if low == high:
        margin = abs(low) / 2 or 0.5
        low, high = low - margin, high + margin
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)

    def across(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def down(y: float) -> float:
        return round(TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for run, points in curves.items():
        placed = [(across(x), down(height(y))) for x, y in points]
        if len(placed) == 1:  # a polyline of one point shows nothing
            placed = [(placed[0][0] - 1.5, placed[0][1]), (placed[0][0] + 1.5, placed[0][1])]
        text = " ".join(f"{x:g},{y:g}" for x, y in placed)
        lines.append(Line(run=run, index=runs.index(run), points=text, last=_short(points[-1][1])))
    y_ticks = [(down(y), _short(10**y if logarithmic else y)) for y in _round_ticks(low, high)]
    if logarithmic and len(y_ticks) > 1:  # whole powers of ten where the range has two of them
        whole = [(down(y), _short(10.0**y)) for y in range(math.ceil(low), math.floor(high) + 1)]
        y_ticks = whole if len(whole) > 1 else y_ticks
    x_ticks = [(across(x), _short(x)) for x in _round_ticks(x_low, x_high)]
    return Panel(title=title, lines=lines, x_ticks=x_ticks, y_ticks=y_ticks, logarithmic=logarithmic)
