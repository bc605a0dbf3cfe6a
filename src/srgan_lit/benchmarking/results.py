"""The samples of a benchmark, what is derived from them, and their table."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from srgan_lit.common import text_tables

if TYPE_CHECKING:
    from srgan_lit.benchmarking.workloads import Workload


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


def spread(values: list[float], *, times: float = 1.0) -> str:
    """Median, and the range in brackets."""
    if not values:
        return "–"
    middle, least, most = (_short(each * times) for each in (statistics.median(values), min(values), max(values)))
    return f"{middle} [{least}, {most}]"


def _short(value: float) -> str:
    """Three significant digits, never an exponent."""
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def table(results: Sequence[Result]) -> str:
    """The table: each workload, ours and the textbook's way."""
    rows = [("", "way", "ms for one", "per second", "% of floor", "ratio")]
    for result in results:
        rows.append(
            (
                result.name,
                "ours",
                spread([s / result.work for s in result.seconds], times=1e3),
                f"{spread(result.rate)} {result.unit}",
                spread(result.share, times=100),
                spread(result.ratio),
            )
        )
        rows.append(
            (
                "",
                "textbook",
                spread([s / result.textbook_work for s in result.textbook_seconds], times=1e3),
                f"{spread(result.textbook_rate)} {result.unit}",
                spread(result.textbook_share, times=100),
                "",
            )
        )
    return text_tables.markdown(rows, left=[True] * 6)
