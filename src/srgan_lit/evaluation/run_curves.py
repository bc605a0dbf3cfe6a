"""A run's ``metrics.csv`` as curves for the report. No drawing library: the report has them as inline SVG."""

import contextlib
import csv
import io
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from srgan_lit.common.errors import SRGANError

# Coordinates of a drawing, in SVG units.
WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 8, 24

# What says how a training went: quality, and what is minimised.
MAIN = (
    "val/psnr",
    "val/ssim",
    "val/perceptual",
    "train/mse",
    "train/l1",
    "train/charbonnier",
    "train/total",
    "train/discriminator",
)
_ITERATION = re.compile(r"[0-9]{1,15}")
_MOST_POINTS = 300  # more than a screen can show; each stands for the mean of a stretch


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run's curve: SVG ``points``, and its ``last`` value as text. ``index`` tells the runs' colours apart."""

    run: str
    index: int
    points: str
    last: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A straight line: ``at`` in SVG units, and what it says. ``index`` is that of its run, or -1 if it is of all."""

    at: float
    text: str
    index: int = -1


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One metric of all runs: ``ticks`` are (position, text) along each axis, and no two texts of an axis are equal.

    ``references`` are horizontal (what bicubic scores); ``phases`` are vertical (where the adversarial phase begins).
    ``main`` panels say how a training went; the others are for looking closer.
    """

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    references: list[Mark]
    phases: list[Mark]
    logarithmic: bool
    main: bool


Points = list[tuple[float, float]]


def rows(path: Path) -> tuple[list[dict[str, str]], bool]:
    """The rows of ``metrics.csv`` with the number of an iteration in ``step``, and whether that is all that it holds.

    It is, too, where the last row lacks columns: it was being written when the run was killed. A file that is not
    there has none.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig") if path.is_file() else ""
        heading, *lines = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except (ValueError, csv.Error):  # not UTF-8, or a cell without end
        return [], False
    if len(set(heading)) < len(heading) or "step" not in heading:
        return [], not text
    step = heading.index("step")
    good = [line for line in lines if len(line) == len(heading) and _ITERATION.fullmatch(line[step])]
    good = [line for line in good if not any("\n" in cell for cell in line)]  # a quotation mark too many
    cut = bool(lines) and len(lines[-1]) < len(heading)
    return [dict(zip(heading, line, strict=True)) for line in good], len(good) + cut == len(lines)


def read(path: Path) -> dict[str, Points]:
    """(iteration, value) of every metric in ``metrics.csv``, in order. Empty and not-finite values are left out.

    A file that was removed or cannot be read has none; the rest of the run can still be shown.
    """
    curves: dict[str, Points] = {}
    for row in rows(path)[0]:
        for name, text in row.items():
            with contextlib.suppress(ValueError):
                value = float(text)
                if name not in ("step", "epoch") and math.isfinite(value):
                    curves.setdefault(name, []).append((int(row["step"]), value))
    return {name: sorted(points) for name, points in curves.items()}


def _thinned(points: Points) -> Points:
    """At most ``_MOST_POINTS``: each stretch of neighbours becomes its mean."""
    size = -(-len(points) // _MOST_POINTS)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def phase_change(run_dir: Path) -> int | None:
    """After how many iterations the adversarial phase began, by ``config.yaml``; None if the run has one phase."""
    from srgan_lit.config import plain_yaml

    try:
        phase = plain_yaml.read(run_dir / "config.yaml")["phase"]
        return int(phase["pretrain"]["iterations"]) if phase["pretrain"] and phase["adversarial"] else None
    except (SRGANError, KeyError, TypeError, ValueError):  # no run directory of this package, or a damaged one
        return None


def _short(value: float, digits: int = 4) -> str:
    """For an axis: 20000 as 20k, 0.00012 as 1.2e-4."""
    size = abs(value)
    if size >= 10_000:
        return f"{value / 1000:.{digits}g}k" if size < 1e6 else f"{value / 1e6:.{digits}g}M"
    if 0 < size < 1e-3:
        return f"{value:.{digits - 3}e}".replace("e-0", "e-")
    return f"{value:.{digits}g}"


def _labels(values: list[float]) -> list[str]:
    """Texts for the ticks of one axis, with as many digits as it takes for them to differ."""
    for digits in range(4, 17):
        texts = [_short(value, digits) for value in values]
        if len(set(texts)) == len(values):
            break
    return texts if values else []


def _round_ticks(low: float, high: float) -> list[float]:
    """A few round numbers from ``low`` to ``high``."""
    rough = (high - low) / 5
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def panels(runs: Mapping[str, Path]) -> list[Panel]:
    """One panel per metric of the ``metrics.csv`` files in these run directories (by display name), the main first.

    All panels of a run share one axis of iterations. An axis of values is logarithmic where all are positive and
    span more than a factor of 50. What bicubic scores is a reference in its metric's panel.
    """
    by_metric: dict[str, dict[str, Points]] = {}
    for run, folder in runs.items():
        for name, points in read(folder / "metrics.csv").items():
            by_metric.setdefault(name, {})[run] = _thinned(points)
    baselines = {name: by_metric.pop(name) for name in list(by_metric) if name.endswith("_bicubic")}
    changes = {run: at for run, folder in runs.items() if (at := phase_change(folder)) is not None}
    spans: dict[str, list[float]] = {}
    for curves in by_metric.values():
        for run, points in curves.items():
            spans.setdefault(run, []).extend((points[0][0], points[-1][0]))
    drawn = [
        _panel(
            name,
            curves,
            list(runs),
            baseline={run: points[-1][1] for run, points in baselines.get(f"{name}_bicubic", {}).items()},
            changes=changes,
            span=(min(min(spans[run]) for run in curves), max(max(spans[run]) for run in curves)),
        )
        for name, curves in by_metric.items()
    ]
    order = {title: place for place, title in enumerate(MAIN)}
    return sorted(drawn, key=lambda panel: (order.get(panel.title, len(order)), panel.title))


def _marks(values: Mapping[str, float], runs: list[str], place: Callable[[float], float], text: str) -> list[Mark]:
    """A line for each run, or one for all where their values are the same."""
    if len(set(values.values())) == 1:
        value = next(iter(values.values()))
        return [Mark(at=place(value), text=text.format(value=_short(value)))]
    return [
        Mark(at=place(value), text=f"{run}: {text.format(value=_short(value))}", index=runs.index(run))
        for run, value in values.items()
    ]


def _panel(
    title: str,
    curves: dict[str, Points],
    runs: list[str],
    *,
    baseline: Mapping[str, float],
    changes: Mapping[str, float],
    span: tuple[float, float],
) -> Panel:
    ys = [y for points in curves.values() for _, y in points] + list(baseline.values())
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > 50

    def height(y: float) -> float:
        return math.log10(y) if logarithmic else y

    low, high = height(min(ys)), height(max(ys))
    if high - low <= 1e-6 * max(abs(low), abs(high)):  # flat, but for float32's rounding
        margin = abs(low) / 2 or 0.5
        low, high = low - margin, high + margin
    x_low, x_high = span[0], max(span[1], span[0] + 1)

    def across(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def down(y: float) -> float:
        return round(TOP + (high - height(y)) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for run, points in curves.items():
        placed = [(across(x), down(y)) for x, y in points]
        if len(placed) == 1:  # a polyline of one point shows nothing
            placed = [(placed[0][0] - 1.5, placed[0][1]), (placed[0][0] + 1.5, placed[0][1])]
        text = " ".join(f"{x:g},{y:g}" for x, y in placed)
        lines.append(Line(run=run, index=runs.index(run), points=text, last=_short(points[-1][1])))
    ticks = _round_ticks(low, high)
    if logarithmic:  # whole powers of ten where the range has two of them
        whole = [float(power) for power in range(math.ceil(low), math.floor(high) + 1)]
        ticks = [10**tick for tick in (whole if len(whole) > 1 else ticks)]
    iterations = [tick for tick in _round_ticks(x_low, x_high) if tick == int(tick)]
    inside = {run: at for run, at in changes.items() if run in curves and x_low < at < x_high}
    return Panel(
        title=title,
        lines=lines,
        x_ticks=list(zip(map(across, iterations), _labels(iterations), strict=True)),
        y_ticks=list(zip(map(down, ticks), _labels(ticks), strict=True)),
        references=_marks(baseline, runs, down, "bicubic {value}"),
        phases=_marks(inside, runs, across, "adversarial from {value}"),
        logarithmic=logarithmic,
        main=title in MAIN,
    )
