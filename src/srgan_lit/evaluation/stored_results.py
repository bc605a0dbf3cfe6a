"""``results.json`` read back: its rows, and how each column is called, shown and judged. No torch."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic.dataclasses
from pydantic import Field

from srgan_lit.common.errors import SRGANError


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """How a column is called and shown.

    Attributes:
        key: its name in ``results.json`` and the CSV.
        heading: its name in tables.
        best: whether ``"max"`` or ``"min"`` is better.
        digits: decimal places shown.
        objective: the ``objective`` of a configuration that judges runs by it; "" where none does.
    """

    key: str
    heading: str
    best: Literal["max", "min"]
    digits: Annotated[int, Field(ge=0, le=20)]
    objective: str = ""

    def show(self, value: float) -> str:
        """The value as tables print it: – where there is none."""
        if math.isnan(value):
            return "–"
        return f"{value:.{self.digits}f}".replace("inf", "∞")


@dataclass(frozen=True, kw_only=True)
class StoredResults:
    """The content of a ``results.json``: ``rows`` as they are there, and ``columns`` of their means."""

    rows: list[dict[str, Any]]
    columns: tuple[Column, ...]

    def value(self, row: dict[str, Any], column: Column) -> float:
        """A mean of a row; NaN where it has none."""
        value = row.get(column.key)
        return math.nan if value is None else float(value)

    def objective(self, kind: str) -> float:
        """What a sweep judges a run by: the mean of its last model on its first data set.

        Raises:
            StopIteration: no column judges by ``kind``.
        """
        column = next(column for column in self.columns if column.objective == kind)
        row = [row for row in self.rows if row["dataset"] == self.rows[0]["dataset"]][-1]
        return self.value(row, column)


def read(path: Path) -> StoredResults:
    """Read a ``results.json``.

    Raises:
        SRGANError: it is damaged, or by another program.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["rows"]
        columns = [Column(**each) for each in content["columns"]] if "columns" in content else _of_0_1(rows)
        stored = StoredResults(rows=rows, columns=tuple(columns))
        for row in rows:  # as all who read it do
            for column in columns:
                row["dataset"].join(column.show(stored.value(row, column)))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SRGANError(f"{path}: no results of this package ({said})") from error
    return stored


def of_run(run_dir: Path) -> StoredResults:
    """The results of a run's report."""
    return read(run_dir / "report" / "results.json")


def _of_0_1(rows: list[dict[str, Any]]) -> list[Column]:
    """The columns of a file that does not describe them: what version 0.1 showed of runs."""
    features = dict.fromkeys(key for row in rows for key in row if key.startswith("vgg"))
    return [
        Column(key="psnr", heading="PSNR ↑", best="max", digits=3, objective="psnr"),
        Column(key="ssim", heading="SSIM ↑", best="max", digits=4),
        *(
            Column(
                key=key, heading=f"{key.upper().replace('_', ' ', 1)} ↓", best="min", digits=4, objective="perceptual"
            )
            for key in features
        ),
    ]
