"""The samples of a benchmark, what is derived from them, and their table."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from srgan_lit.common import text_tables

if TYPE_CHECKING:
    from srgan_lit.benchmarking.workloads import Workload


OURS = "ours"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Samples:
    """One way's, by round: seconds for ``work`` units, and the matrix product before each in multiply-adds/s."""

    work: float
    seconds: list[float]
    product_rate: list[float]

    @property
    def rate(self) -> list[float]:
        """Units per second."""
        return [self.work / seconds for seconds in self.seconds]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The samples of one workload by way: ours, then its opponents'."""

    name: str
    unit: str
    multiply_adds: int
    details: dict[str, float]
    ways: dict[str, Samples]

    @property
    def opponents(self) -> list[str]:
        """Every way but ours."""
        return [way for way in self.ways if way != OURS]

    def ratio(self, opponent: str) -> list[float]:
        """How many times the opponent's rate ours is, by round."""
        pairs = zip(self.ways[OURS].rate, self.ways[opponent].rate, strict=True)
        return [ours / theirs for ours, theirs in pairs]

    def share(self, way: str) -> list[float]:
        """Of the floor of ours, by round; empty where there are no multiply-adds."""
        pairs = zip(self.ways[way].seconds, self.ways[way].product_rate, strict=True)
        return [self.multiply_adds / rate / took for took, rate in pairs] if self.multiply_adds else []

    def as_json(self) -> dict[str, Any]:
        """Everything measured and derived."""
        document = dataclasses.asdict(self)
        for way, samples in self.ways.items():
            document["ways"][way] |= {"rate": samples.rate, "share": self.share(way)}
        document["ratios"] = {way: _summary(self.ratio(way)) for way in self.opponents}
        return document


def _summary(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "rounds": values}


def measured(workload: "Workload", product: Callable[[], float], *, rounds: int) -> Result:
    """Time the ways of ``workload`` in turns, after one round that is not counted."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in workload.ways}
    for _ in range(rounds + 1):
        for name, way in workload.ways.items():
            samples[name].append((product(), way.run()))
    ways = {}
    for name, taken in samples.items():
        rates, seconds = (list(column) for column in zip(*taken[1:], strict=True))
        ways[name] = Samples(work=workload.ways[name].work, seconds=seconds, product_rate=rates)
    return Result(
        name=workload.name,
        unit=workload.unit,
        multiply_adds=workload.multiply_adds,
        details=workload.details,
        ways=ways,
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
    """The table: each workload by every way, and how many times an opponent's rate ours is."""
    rows = [("", "way", "ms for one", "per second", "% of floor", "ours to it")]
    for result in results:
        rows += [
            (
                result.name if way == OURS else "",
                way,
                spread([seconds / samples.work for seconds in samples.seconds], times=1e3),
                f"{spread(samples.rate)} {result.unit}",
                spread(result.share(way), times=100),
                "" if way == OURS else spread(result.ratio(way)),
            )
            for way, samples in result.ways.items()
        ]
    return text_tables.markdown(rows, left=[True] * 6)
