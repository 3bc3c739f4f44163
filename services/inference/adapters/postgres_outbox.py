"""The outbox in Postgres: the rows of ended attempts that are not noted as published."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

from shared.contracts.usage import UsageRecorded
from shared.runtime.postgres import Pool, database_errors

Publish = Callable[[UsageRecorded], Awaitable[None]]

_NOTE: Final = """
    update attempts set published_at = clock_timestamp()
    where usage_id in (
        select usage_id from attempts
        where usage_id = any($1) and outcome is not null and published_at is null
        for no key update skip locked
    )
"""
_UNPUBLISHED: Final = """
    select usage_id, usage from attempts
    where outcome is not null and published_at is null
      and ended_at < clock_timestamp() - make_interval(secs => $1)
    order by ended_at limit $2
    for no key update skip locked
"""


class PostgresOutbox:
    """The rows stay locked while they are published: by that, workers share them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def note_published(self, usage_ids: Sequence[UUID]) -> None:
        with database_errors():
            await self._pool.execute(_NOTE, usage_ids)

    async def relay(self, publish: Publish, *, ended_before_s: float, limit: int) -> int:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(_UNPUBLISHED, ended_before_s, limit)
                if not rows:
                    return 0
                failures = await asyncio.gather(
                    *(_publish(row["usage"], publish) for row in rows), return_exceptions=True
                )
                done = [row["usage_id"] for row, failed in zip(rows, failures, strict=True) if failed is None]
                await connection.execute(_NOTE, done)
        for failed in failures:
            if failed is not None:
                raise failed
        return len(rows)


async def _publish(event: Any, publish: Publish) -> None:
    await publish(UsageRecorded.model_validate_json(event))
