"""What scoring gives, and as files: ``results.json``, ``.md`` and ``.tex``, and ``images.csv``. No scoring."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan_lit.common import atomic_files, text_tables
from srgan_lit.evaluation.columns import Measure
from srgan_lit.evaluation.stored_results import Column
from srgan_lit.pictures.rgb8 import Pair


@dataclass(frozen=True, kw_only=True)
class Score:
    """One picture by one model: ``values`` by the measures' keys, and the ``seconds`` that inference took."""

    name: str
    values: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model on one data set.

    Attributes:
        model: its name.
        dataset: likewise.
        protocol: of PSNR and SSIM.
        caption: what must be said of the data set's scores; "" for nothing.
        images: the pictures that were scored.
        failed: by picture, why it was not.
        trained_on: pictures that the model was trained on.
        chosen_by: pictures by whose scores it was chosen among others.
    """

    model: str
    dataset: str
    protocol: str
    caption: str = ""
    images: list[Score] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    trained_on: list[str] = field(default_factory=list)
    chosen_by: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """How many pictures were scored."""
        return len(self.images)

    @property
    def seconds(self) -> float:
        """Inference time of all of them."""
        return sum(score.seconds for score in self.images)

    @property
    def psnr(self) -> float:
        """Mean of the pictures' PSNR in dB; NaN if none was scored."""
        return self.mean("psnr")

    @property
    def ssim(self) -> float:
        """Mean of the pictures' SSIM; NaN if none was scored."""
        return self.mean("ssim")

    def mean(self, key: str) -> float:
        """Mean over the pictures that have a value of this measure; NaN if none has."""
        values = [value for score in self.images if not math.isnan(value := score.values[key])]
        return sum(values) / len(values) if values else math.nan


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A picture (the ``index``-th of its set) with what the models made of it, by name; one that failed is absent."""

    dataset: str
    index: int
    pair: Pair
    srs: dict[str, NDArray[np.uint8]]
    scores: dict[str, Score]

    @property
    def psnr(self) -> float:
        """Of the first model in dB: the lower, the harder the picture."""
        return next(iter(self.scores.values())).values["psnr"]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no infinity and no NaN


def notes(rows: Sequence[Row], measures: Sequence[Measure]) -> list[str]:
    """What must be read with the table, a sentence each: it stands below it in every form."""
    said = [f"{row.dataset}: {row.caption}." for row in rows if row.caption]
    for row in rows:
        for names, what in ((row.trained_on, "was trained on"), (row.chosen_by, "was chosen by its scores on")):
            if names:
                said.append(f"{row.dataset}: {row.model} {what} {len(names)} of these {row.n} pictures.")
    return list(dict.fromkeys(said + [measure.missing for measure in measures if measure.missing]))


def as_json(rows: Sequence[Row], measures: Sequence[Measure]) -> str:
    """The content of ``results.json``: rows with means and per-image values, null where not finite; and the columns."""
    keys = [measure.key for measure in measures]
    listed: list[dict[str, Any]] = []
    for row in rows:
        images = [
            {"name": score.name} | {key: _number(score.values[key]) for key in keys} | {"seconds": score.seconds}
            for score in row.images
        ]
        listed.append(
            {"model": row.model, "dataset": row.dataset, "n": row.n, "protocol": row.protocol}
            | {key: _number(row.mean(key)) for key in keys}
            | {"seconds": row.seconds, "images": images}
            | {key: value for key in ("failed", "trained_on", "chosen_by") if (value := getattr(row, key))}
        )
    columns = [{each.name: getattr(measure, each.name) for each in fields(Column)} for measure in measures]
    said = notes(rows, measures)
    content = {"rows": listed, "columns": columns} | ({"notes": said} if said else {})
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def best(rows: Sequence[Row], measure: Measure) -> str:
    """The best mean of the rows of one data set, as shown; "" where there is only one row."""
    shown = [row for row in rows if measure.show(row.mean(measure.key)) != "–"]
    if len(rows) < 2 or not shown:
        return ""
    pick = max if measure.best == "max" else min
    return measure.show(pick(row.mean(measure.key) for row in shown))


_LEFT = (True, True, False, True)  # data set, model, n, protocol; what follows are numbers


def _lines(rows: Sequence[Row], measures: Sequence[Measure]) -> list[list[str]]:
    lines = [["data set", "model", "n", "protocol", *(measure.heading for measure in measures), "seconds"]]
    for row in rows:
        means = [measure.show(row.mean(measure.key)) for measure in measures]
        lines.append([row.dataset, row.model, str(row.n), row.protocol, *means, f"{row.seconds:.2f}"])
    return lines


def table(rows: Sequence[Row], measures: Sequence[Measure]) -> str:
    """The table as text: aligned for a terminal, and Markdown to paste."""
    lines = _lines(rows, measures)
    text = text_tables.markdown(lines, left=[*_LEFT, *[False] * (len(lines[0]) - len(_LEFT))])
    return text + "".join(f"\n{note}\n" for note in notes(rows, measures))


BEGIN, END = "<!-- srgan-evaluate begins -->", "<!-- srgan-evaluate ends -->"  # of the table in a page of a user's own


def with_table(page: str, text: str) -> str:
    """``page``, Markdown, with ``text`` between the lines ``BEGIN`` and ``END``.

    Raises:
        ValueError: it has not exactly one of each, in this order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise ValueError(f"needs one line {BEGIN} and below it one line {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def as_latex(rows: Sequence[Row], measures: Sequence[Measure]) -> str:
    """The same for a paper; the best mean of each data set is bold."""
    lines = _lines(rows, measures)
    bold = {
        (y, x)
        for y, row in enumerate(rows, start=1)
        for x, measure in enumerate(measures, start=len(_LEFT))
        if lines[y][x] == best([other for other in rows if other.dataset == row.dataset], measure)
    }
    text = text_tables.latex(lines, left=[*_LEFT, *[False] * (len(lines[0]) - len(_LEFT))], bold=bold)
    return text + "".join(f"% {note}\n" for note in notes(rows, measures))


def as_csv(rows: Sequence[Row], measures: Sequence[Measure]) -> str:
    """One line per picture and model; not-finite values as ``inf`` and ``nan``."""
    keys = [measure.key for measure in measures]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "image", "model", "protocol", *keys, "seconds"])
    for row in rows:
        for score in row.images:
            values = [score.values[key] for key in keys]
            writer.writerow([row.dataset, score.name, row.model, row.protocol, *values, score.seconds])
    return text.getvalue()


def write(out: Path, rows: Sequence[Row], measures: Sequence[Measure]) -> None:
    """Write the four files into ``out``, which exists."""
    atomic_files.write_text(out / "results.json", as_json(rows, measures))
    atomic_files.write_text(out / "results.md", table(rows, measures))
    atomic_files.write_text(out / "results.tex", as_latex(rows, measures))
    atomic_files.write_text(out / "images.csv", as_csv(rows, measures))
