"""What was measured: the rounds of each cell, and one line of figures made of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.versus.load import Taken
from tests.bench.versus.wire import Kind

TOOLS: Final = ("load", "upstream")
"""What measures and what answers: of no gateway."""


@dataclass(frozen=True)
class Cell:
    """One gateway asked one kind of question by so many clients."""

    gateway: str
    kind: Kind
    clients: int


@dataclass(frozen=True)
class Round:
    """One measurement of a cell; `cpu_ms` by part."""

    taken: Taken
    cpu_ms: Mapping[str, float]

    @property
    def per_s(self) -> float:
        return len(self.taken.took_ms) / self.taken.elapsed_s

    def cpu_per_run(self, part: str) -> float:
        return self.cpu_ms.get(part, 0) / max(1, len(self.taken.took_ms))


@dataclass(frozen=True)
class Figures:
    """Throughput and CPU are medians of the rounds, latencies (ms) quantiles of all their answers."""

    per_s: float
    p50: float
    p99: float
    first_p50: float
    cpu: Mapping[str, float]
    """CPU ms per run, by part of the gateway and by tool."""
    runs: int
    faults: Mapping[str, int]

    @property
    def cpu_in_all(self) -> float:
        return sum(ms for part, ms in self.cpu.items() if part not in TOOLS)

    @property
    def failed(self) -> int:
        return sum(self.faults.values())


Results = Mapping[Cell, Figures]


def figures_of(rounds: Sequence[Round]) -> Figures:
    took = [ms for one in rounds for ms in one.taken.took_ms]
    parts = sorted({part for one in rounds for part in one.cpu_ms})
    return Figures(
        per_s=median(one.per_s for one in rounds),
        p50=quantile(took, 0.5),
        p99=quantile(took, 0.99),
        first_p50=quantile([ms for one in rounds for ms in one.taken.first_ms], 0.5),
        cpu={part: median(one.cpu_per_run(part) for one in rounds) for part in parts},
        runs=len(took),
        faults=sum((Counter(one.taken.faults) for one in rounds), Counter[str]()),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest value that so large a share is not above; nan of none."""
    if not values:
        return float("nan")
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, round(share * (len(ranked) - 1)))]
