"""Events that wait in Postgres to be published."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import asyncpg

from services.billing.adapters import sql
from shared.contracts.credits import CreditsCharged, CreditsGranted
from shared.contracts.message import Message
from shared.runtime.postgres import database_errors

_EVENTS: tuple[type[Message], ...] = (CreditsCharged, CreditsGranted)


class PostgresOutbox:
    """See `Outbox`. The rows stay locked while they are published, so replicas share the work."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    async def relay(self, publish: Callable[[UUID, Message], Awaitable[None]], *, limit: int) -> int:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                waiting = await connection.fetch(sql.CLAIM_EVENTS, limit)
                if not waiting:
                    return 0
                results = await asyncio.gather(
                    *(publish(row["event_id"], _message(row)) for row in waiting), return_exceptions=True
                )
                sent = [
                    row["event_id"] for row, result in zip(waiting, results, strict=True) if result is None
                ]
                await connection.execute(sql.FORGET_EVENTS, sent)
        for result in results:
            if result is not None:
                raise result
        return len(sent)


def _message(row: Mapping[str, Any]) -> Message:
    model = next(event for event in _EVENTS if event.event_type() == row["type"])
    return model.model_validate_json(row["payload"])
