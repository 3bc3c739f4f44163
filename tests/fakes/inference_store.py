"""Attempts in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.inference.domain.attempt import Attempt
from services.inference.ports import AbandonedAttempt, StoredAttempt, StoredRun
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded, RunRequested
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import PlatformError


class InMemoryAttemptStore:
    """`away` makes every call raise, as when Postgres is; `refusal` the next `finish`; `lost_answer` too,
    but only once it is written. Workers that never beat are stale. It is the outbox as well.
    """

    def __init__(self) -> None:
        self.away: PlatformError | None = None
        self.refusal: Exception | None = None
        self.lost_answer: PlatformError | None = None
        self.rows: dict[tuple[UUID, int], StoredAttempt] = {}
        self.requests: dict[tuple[UUID, int], RunRequested] = {}
        self.published: set[UUID] = set()
        self.ends: dict[UUID, RunEnded] = {}
        self._in_hand: set[UUID] = set()
        self._seen: dict[str, datetime] = {}

    async def claim(self, attempt: Attempt, request: RunRequested) -> bool:
        self._called()
        place = (attempt.run_id, attempt.number)
        if (row := self.rows.get(place)) is not None:
            return row.attempt.usage_id == attempt.usage_id and row.usage is None
        kept = replace(attempt, resolve_ms=None, price=None)
        self.rows[place], self.requests[place] = StoredAttempt(kept, stale=False), request
        return True

    async def note_key(self, attempt: Attempt) -> bool:
        self._called()
        row = self.rows.get((attempt.run_id, attempt.number))
        if row is None or row.usage is not None:
            return False
        row.attempt.key = attempt.key
        return True

    async def finish(
        self, usage: UsageRecorded, error: ErrorBody | None, end: RunEnded | None = None
    ) -> bool:
        self._called()
        if (refusal := self.refusal) is not None:
            self.refusal = None
            raise refusal
        row = self.rows.get((usage.run_id, usage.attempt))
        if row is None or row.usage is not None:
            return row is not None and row.usage == usage
        self.rows[usage.run_id, usage.attempt] = replace(row, usage=usage, error=error)
        if end is not None:
            self.ends[end.run_id] = end
        if (lost := self.lost_answer) is not None:
            self.lost_answer = None
            raise lost
        return True

    async def attempts(self, run_id: UUID, *, stale_after_s: float) -> tuple[StoredAttempt, ...]:
        self._called()
        rows = sorted((place, row) for place, row in self.rows.items() if place[0] == run_id)
        return tuple(
            replace(
                row, attempt=replace(row.attempt), stale=self._is_stale(row.attempt.worker, stale_after_s)
            )
            for _, row in rows
        )

    async def abandoned(
        self, *, own: str, stale_after_s: float, overdue_s: float, limit: int
    ) -> tuple[AbandonedAttempt, ...]:
        self._called()
        overdue = datetime.now(UTC) - timedelta(seconds=overdue_s)
        found = [
            AbandonedAttempt(replace(row.attempt), _kept(self.requests[place]))
            for place, row in self.rows.items()
            if row.usage is None
            and self.requests[place].deadline < overdue
            and (row.attempt.worker == own or self._is_stale(row.attempt.worker, stale_after_s))
        ]
        return tuple(found[:limit])

    async def note_published(self, usage_ids: Sequence[UUID]) -> None:
        self._called()
        ended = {row.usage.usage_id for row in self.rows.values() if row.usage is not None}
        self.published |= (ended & set(usage_ids)) - self._in_hand

    async def relay(
        self, publish: Callable[[UsageRecorded], Awaitable[None]], *, ended_before_s: float, limit: int
    ) -> int:
        self._called()
        before = datetime.now(UTC) - timedelta(seconds=ended_before_s)
        usages = [row.usage for row in self.rows.values() if row.usage is not None]
        waiting = [
            usage
            for usage in sorted(usages, key=lambda usage: usage.finished_at)
            if usage.finished_at < before and usage.usage_id not in self.published | self._in_hand
        ][:limit]
        in_hand = {usage.usage_id for usage in waiting}
        self._in_hand |= in_hand
        try:
            failures = await asyncio.gather(*map(publish, waiting), return_exceptions=True)
        finally:
            self._in_hand -= in_hand
        for usage, failed in zip(waiting, failures, strict=True):
            if failed is None:
                self.published.add(usage.usage_id)
        for failed in failures:
            if failed is not None:
                raise failed
        return len(waiting)

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        self._called()
        held = {run_id for run_id, number in self.rows if self._is_needed((run_id, number))}
        old = sorted(place for place in self.rows if place[0] < born_before and place[0] not in held)[:limit]
        for place in old:
            del self.rows[place]
        return len(old)

    def _is_needed(self, place: tuple[UUID, int]) -> bool:
        usage, deadline = self.rows[place].usage, self.requests[place].deadline
        is_published = usage is not None and usage.usage_id in self.published
        return not is_published or deadline >= datetime.now(UTC) - timedelta(days=1)

    async def drop_ends(self, run_ids: Sequence[UUID]) -> None:
        self._called()
        for run_id in run_ids:
            self.ends.pop(run_id, None)

    async def relay_ends(
        self, publish: Callable[[RunEnded], Awaitable[None]], *, ended_before_s: float, limit: int
    ) -> int:
        self._called()
        before = datetime.now(UTC) - timedelta(seconds=ended_before_s)
        waiting = sorted(self.ends.values(), key=lambda end: end.ended_at)
        due = [end for end in waiting if end.ended_at < before][:limit]
        for end in due:
            await publish(end)
            del self.ends[end.run_id]
        return len(due)

    async def beat(self, worker: str) -> None:
        self._called()
        self._seen[worker] = datetime.now(UTC)

    def _is_stale(self, worker: str, stale_after_s: float) -> bool:
        seen = self._seen.get(worker)
        return seen is None or datetime.now(UTC) - seen > timedelta(seconds=stale_after_s)

    def _called(self) -> None:
        if self.away is not None:
            raise self.away


def _kept(request: RunRequested) -> StoredRun:
    return StoredRun(
        user_id=request.user_id,
        flow=request.flow,
        policy=request.policy,
        provider=request.provider,
        model=request.model,
        stream=request.stream,
        requested_at=request.requested_at,
        kept=request.kept,
        session_id=request.session_id,
    )
