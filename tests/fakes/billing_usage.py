"""Usage as billed, in memory."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from services.billing.domain.hold import Hold, HoldState
from services.billing.ports import Entry
from shared.contracts.billing import ListUsage, ReceiptAttempt, UsagePage, UsageTotals
from shared.contracts.usage import TokenCounts
from shared.kernel.errors import (
    InvalidRequestError,
)


class InMemoryUsageStore:
    """`UsageStore` over what `entries` were kept, in order, and what is held."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.recorded_at: list[datetime] = []
        self.holds: dict[tuple[UUID, int], Hold] = {}

    async def of_run(self, user_id: str, run_id: UUID) -> list[ReceiptAttempt]:
        mine = [
            entry
            for entry in self.entries
            if (entry.usage.event.user_id, entry.usage.event.run_id) == (user_id, run_id)
        ]
        return [_attempt(entry) for entry in sorted(mine, key=lambda entry: entry.usage.event.attempt)]

    async def is_open(self, user_id: str, run_id: UUID) -> bool:
        return any(
            (hold.run_id, hold.user_id, hold.state) == (run_id, user_id, HoldState.HELD)
            for hold in self.holds.values()
        )

    async def page(self, request: ListUsage) -> UsagePage:
        before = len(self.entries) if request.cursor is None else load_place(request.cursor)
        asked = [place for place in range(len(self.entries)) if self._is_asked(place, request)]
        left = [place for place in asked if place < before]
        page = left[::-1][: request.limit]
        return UsagePage(
            items=tuple(_attempt(self.entries[place]) for place in page),
            next_cursor=dump_place(page[-1]) if len(left) > request.limit else None,
            totals=_totals([self.entries[place] for place in asked]),
        )

    def _is_asked(self, place: int, request: ListUsage) -> bool:
        event, at = self.entries[place].usage.event, self.recorded_at[place]
        return (
            request.user_id in {None, event.user_id}
            and request.flow in {None, event.flow}
            and request.model in {None, event.model}
            and request.key_source in {None, event.key_source}
            and request.session_id in {None, event.session_id}
            and request.excluding_run != event.run_id
            and (request.since is None or request.since <= at)
            and (request.until is None or at < request.until)
        )


def dump_place(place: int) -> str:
    """Return a cursor."""
    return base64.urlsafe_b64encode(str(place).encode()).decode()


def load_place(cursor: str) -> int:
    """Return what a cursor says. Raises InvalidRequestError for one that is not ours."""
    try:
        place = int(base64.urlsafe_b64decode(cursor))
    except (ValueError, binascii.Error):
        raise InvalidRequestError("cursor is not one of ours") from None
    if dump_place(place) != cursor:
        raise InvalidRequestError("cursor is not one of ours")
    return place


def _attempt(entry: Entry) -> ReceiptAttempt:
    return ReceiptAttempt(
        usage=entry.usage.event,
        cost_micros=entry.cost_micros,
        charged_micros=entry.settlement.charged_micros,
        price_version=entry.price_version,
        unrated=entry.unrated,
    )


def _totals(entries: Sequence[Entry]) -> UsageTotals:
    events = [entry.usage.event for entry in entries]

    def tokens(count: Callable[[TokenCounts], int]) -> int:
        return sum(count(event.tokens) for event in events)

    return UsageTotals(
        runs=len({event.run_id for event in events}),
        attempts=len(events),
        keyed_attempts=sum(event.key_source is not None for event in events),
        byok_attempts=sum(event.key_source is not None and event.key_source.is_byok for event in events),
        unrated_attempts=sum(entry.unrated is not None for entry in entries),
        prompt_tokens=tokens(lambda counts: counts.prompt),
        completion_tokens=tokens(lambda counts: counts.completion),
        cached_tokens=tokens(lambda counts: counts.cached),
        cache_write_tokens=tokens(lambda counts: counts.cache_write),
        reasoning_tokens=tokens(lambda counts: counts.reasoning),
        cost_micros=sum(entry.cost_micros or 0 for entry in entries),
        charged_micros=sum(entry.settlement.charged_micros for entry in entries),
    )
