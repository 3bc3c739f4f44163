"""What this benchmark is to show, beside what it shows. Nothing is held to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.versus.figures import Cell, Figures, Results
from tests.bench.versus.gateway import DIRECT, LATCHKEY, LITELLM, LITELLM_2
from tests.bench.versus.wire import Kind

_BUSY, _ALONE = 16, 1
Reading = Callable[[Results], float]


@dataclass(frozen=True)
class Target:
    """A ratio of Latchkey's figure to a peer's, and what it is to be: at least, or at most."""

    what: str
    bound: float
    ratio: Reading
    is_floor: bool = True

    def is_met(self, results: Results) -> bool:
        found = self.ratio(results)
        return found >= self.bound if self.is_floor else found <= self.bound


def added(results: Results, cell: Cell, figure: Callable[[Figures], float]) -> float:
    """What a gateway adds to a figure of the same questions asked directly."""
    bare = Cell(DIRECT, cell.kind, cell.clients)
    return figure(results[cell]) - figure(results[bare])


def _times(kind: Kind, peer: str) -> Reading:
    ours, theirs = Cell(LATCHKEY, kind, _BUSY), Cell(peer, kind, _BUSY)
    return lambda results: ratio(results[ours].per_s, results[theirs].per_s)


def _delay(kind: Kind, figure: Callable[[Figures], float]) -> Reading:
    ours, theirs = Cell(LATCHKEY, kind, _ALONE), Cell(LITELLM, kind, _ALONE)
    return lambda results: ratio(added(results, ours, figure), added(results, theirs, figure))


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
