"""What this benchmark is to show, beside what it shows. Nothing is held to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.versus.figures import Cell, Figures, Results
from tests.bench.versus.gateway import DIRECT, LATCHKEY, LITELLM, LITELLM_2
from tests.bench.versus.wire import Kind

_BUSY, _ALONE = 16, 1
Reading = Callable[[Results, str], float]
"""Of a gateway."""


@dataclass(frozen=True)
class Target:
    """A ratio of a gateway's figure to a peer's, and what Latchkey's is to be: at least, or at most."""

    what: str
    bound: float
    ratio: Reading
    is_floor: bool = True

    def is_met(self, results: Results) -> bool:
        found = self.ratio(results, LATCHKEY)
        return found >= self.bound if self.is_floor else found <= self.bound


def added(results: Results, cell: Cell, figure: Callable[[Figures], float]) -> float:
    """What a gateway adds to a figure of the same questions asked directly."""
    direct = Cell(DIRECT, cell.kind, cell.clients)
    return figure(results[cell]) - figure(results[direct])


def _times(kind: Kind, peer: str) -> Reading:
    def read(results: Results, who: str) -> float:
        ours, theirs = (results[Cell(name, kind, _BUSY)] for name in (who, peer))
        return ratio(ours.per_s, theirs.per_s)

    return read


def _delay(kind: Kind, figure: Callable[[Figures], float]) -> Reading:
    def read(results: Results, who: str) -> float:
        ours, theirs = (added(results, Cell(name, kind, _ALONE), figure) for name in (who, LITELLM))
        return ratio(ours, theirs)

    return read


def ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else float("nan")


TARGETS: Final = (
    Target("plain runs/s at 16 clients, against LiteLLM with 1 worker", 5, _times(Kind.PLAIN, LITELLM)),
    Target("plain runs/s at 16 clients, against LiteLLM with 2 workers", 3, _times(Kind.PLAIN, LITELLM_2)),
    Target(
        "added p50 of a plain run at 1 client", 0.5, _delay(Kind.PLAIN, lambda one: one.p50), is_floor=False
    ),
    Target("streams/s at 16 clients, against LiteLLM with 1 worker", 8, _times(Kind.STREAM, LITELLM)),
    Target(
        "added delay of the first chunk (p50) at 1 client",
        0.5,
        _delay(Kind.STREAM, lambda one: one.first_p50),
        is_floor=False,
    ),
)
