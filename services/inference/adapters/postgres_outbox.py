"""The outbox in Postgres: rows of ended attempts that are not noted as published, and ends of kept runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from opentelemetry.trace import SpanKind

from shared.contracts.runs import RunEnded
from shared.contracts.usage import UsageRecorded
from shared.runtime.postgres import Pool, database_errors
from shared.runtime.tracing import OFF, Tracing

_NOTE: Final = """
    update attempts set published_at = clock_timestamp()
    where usage_id in (
        select usage_id from attempts
        where usage_id = any($1) and outcome is not null and published_at is null
        for no key update skip locked
    )
"""
_UNPUBLISHED: Final = """
    select usage_id, usage, traceparent from attempts
    where outcome is not null and published_at is null
      and ended_at < clock_timestamp() - make_interval(secs => $1)
    order by ended_at limit $2
    for no key update skip locked
"""
_FORGET: Final = "select forget_attempts($1, $2)"
_DROP_ENDS: Final = "delete from run_ends where run_id = any($1)"
_ENDS: Final = """
    select run_id, body,
           (select traceparent from attempts a where a.run_id = run_ends.run_id order by attempt desc limit 1)
    from run_ends where ended_at < clock_timestamp() - make_interval(secs => $1)
    order by ended_at limit $2
    for no key update skip locked
"""


class PostgresOutbox:
    """The rows stay locked while they are published: by that, workers share them."""

    def __init__(self, pool: Pool, tracing: Tracing = OFF) -> None:
        self._pool = pool
        self._tracing = tracing

    async def note_published(self, usage_ids: Sequence[UUID]) -> None:
        with database_errors():
            await self._pool.execute(_NOTE, usage_ids)

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        with database_errors():
            return int(await self._pool.fetchval(_FORGET, born_before, limit))

    async def drop_ends(self, run_ids: Sequence[UUID]) -> None:
        with database_errors():
            await self._pool.execute(_DROP_ENDS, run_ids)

    async def relay(
        self, publish: Callable[[UsageRecorded], Awaitable[None]], *, ended_before_s: float, limit: int
    ) -> int:
        async def send(event: str) -> None:
            await publish(UsageRecorded.model_validate_json(event))

        return await self._relay(_UNPUBLISHED, _NOTE, send, ended_before_s, limit)

    async def relay_ends(
        self, publish: Callable[[RunEnded], Awaitable[None]], *, ended_before_s: float, limit: int
    ) -> int:
        async def send(event: str) -> None:
            await publish(RunEnded.model_validate_json(event))

        return await self._relay(_ENDS, _DROP_ENDS, send, ended_before_s, limit)

    async def _relay(
        self, waiting: str, done: str, send: Callable[[str], Awaitable[None]], before_s: float, limit: int
    ) -> int:
        """`waiting` selects ids, events and traces, `done` takes the ids of those that were sent."""
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(waiting, before_s, limit)
                if not rows:
                    return 0
                sending = (self._in_trace(send, event, trace) for _, event, trace in rows)
                failures = await asyncio.gather(*sending, return_exceptions=True)
                sent = [key for (key, *_), failed in zip(rows, failures, strict=True) if failed is None]
                await connection.execute(done, sent)
        for failed in failures:
            if failed is not None:
                raise failed
        return len(rows)

    async def _in_trace(
        self, send: Callable[[str], Awaitable[None]], event: str, traceparent: str | None
    ) -> None:
        """Publish late what belongs to a trace as a part of it."""
        if traceparent is None:
            await send(event)
            return
        with self._tracing.span_of(traceparent, "relay", SpanKind.INTERNAL, {}):
            await send(event)
