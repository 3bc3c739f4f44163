"""`latchkey usage summary`: what runs used, cost and were charged, by what one likes."""

from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from infra.analytics.checking import Checker, Event
from infra.analytics.columns import PLACES, Row, row
from infra.analytics.seen import Seen
from infra.analytics.window import Window, events
from infra.event_stream import EventStream
from infra.stream_reading import Meter, Progress
from services.billing.domain.settlement import PAID
from shared.kernel.names import KeyPolicy

BY: Final = (
    *("user", "flow", "policy", "model", "provider", "service", "key_source", "outcome"),
    *("error_code", "tokens_source", "day"),
)
_WAITING_MAX: Final = 200_000
_COLUMN: Final = {"user": "user_id"}
_NOT_PAID: Final = frozenset(outcome for outcome, is_paid in PAID.items() if not is_paid)
Group: TypeAlias = tuple[str | None, ...]


@dataclass
class Sums:
    """Micros are credit micros. `runs` counts first attempts; `with_key` those attempts that had a key."""

    runs: int = 0
    attempts: int = 0
    with_key: int = 0
    byok: int = 0
    unrated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_micros: int = 0
    charged_micros: int = 0
    receivable_micros: int = 0

    @property
    def byok_share(self) -> float | None:
        """Of the attempts that had a key; None when none had."""
        return round(self.byok / self.with_key, 4) if self.with_key else None

    def add(self, other: "Sums") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Summary:
    """Sums by group. A charge counts in the group, and only beside, the attempt that it is for."""

    def __init__(self, by: Iterable[str]) -> None:
        self.by = tuple(by)
        self.groups: dict[Group, Sums] = {}
        self.lost_charges = 0
        self._seen = Seen()
        self._awaiting: dict[str, Group] = {}

    def total(self) -> Sums:
        total = Sums()
        for sums in self.groups.values():
            total.add(sums)
        return total

    def count(self, event: Event, *, is_in: bool) -> None:
        """Heed one event; `is_in` says whether it is of the window. Raises as `columns.row`."""
        if event.type == "usage.recorded.v1":
            if is_in and self._seen.add(event.id):
                self._count_usage(row(event))
        elif event.type == "credits.charged.v1" and self._seen.add(event.id):
            self._count_charge(row(event))

    def _count_usage(self, found: Row) -> None:
        group = tuple(self._of(found, name) for name in self.by)
        sums = self.groups.setdefault(group, Sums())
        _add_usage(sums, found)
        if _is_charged_for(found):
            self._await(str(_at(found, "usage_id")), group)

    def _await(self, usage_id: str, group: Group) -> None:
        """The charge follows within seconds; what none followed for very long is given up, and counted."""
        self._awaiting[usage_id] = group
        if len(self._awaiting) > _WAITING_MAX:
            del self._awaiting[next(iter(self._awaiting))]
            self.lost_charges += 1

    def _count_charge(self, found: Row) -> None:
        group = self._awaiting.pop(str(_at(found, "usage_id")), None)
        if group is not None:
            sums = self.groups[group]
            sums.charged_micros += _number(found, "charged_micros")
            sums.receivable_micros += _number(found, "receivable_micros")

    def _of(self, found: Row, name: str) -> str | None:
        if name == "day":
            return str(found[PLACES["time"]])[:10]
        value = _at(found, _COLUMN.get(name, name))
        return None if value is None else str(value)


def _add_usage(sums: Sums, found: Row) -> None:
    sums.attempts += 1
    sums.runs += _at(found, "attempt") == 1
    sums.with_key += _at(found, "key_source") is not None
    sums.byok += _at(found, "is_byok") is True
    sums.unrated += _at(found, "cost_micros") is None
    for name in ("prompt", "completion", "cached", "cache_write", "reasoning"):
        column = f"{name}_tokens"
        setattr(sums, column, getattr(sums, column) + _number(found, column))
    sums.cost_micros += _number(found, "cost_micros")


def _is_charged_for(found: Row) -> bool:
    """The rule of billing: the platform's key, not its own flow, an end that is paid for, a known cost."""
    is_users = _at(found, "is_byok") is False and _at(found, "policy") != KeyPolicy.SYSTEM
    return is_users and _at(found, "outcome") not in _NOT_PAID and _number(found, "cost_micros") > 0


def _at(found: Row, column: str) -> Any:
    return found[PLACES[column]]


def _number(found: Row, column: str) -> int:
    return _at(found, column) or 0


async def summarize(
    stream: EventStream,
    window: Window,
    by: Iterable[str],
    checker: Checker,
    *,
    tell: Callable[[str], None],
) -> Summary:
    """Sum a window up. Raises StreamError."""
    summary, progress = Summary(by), Progress()
    meter = Meter(progress, tell)
    async with aclosing(events(stream, window, checker, progress, tell)) as batches:
        async for batch in batches:
            for event in batch:
                try:
                    summary.count(event, is_in=window.holds(event))
                except (TypeError, ValueError, KeyError, AttributeError) as error:
                    checker.leave_out(event.offset, f"its data is not as agreed: {error}")
            meter.show(progress.at - progress.first)
    if summary.lost_charges:
        tell(f"{summary.lost_charges} attempts waited too long for their charge; it is not in the sums")
    return summary
