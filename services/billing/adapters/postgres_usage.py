"""Usage as billed, in Postgres."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.billing.adapters import rows, sql
from services.billing.adapters.failures import store_errors
from services.billing.ports import Position
from shared.contracts.billing import ReceiptAttempt

_NEWEST = Position(datetime.max, UUID(int=2**128 - 1))  # noqa: DTZ901 - Postgres's infinity


class PostgresUsageStore:
    """See `UsageStore`."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    async def of_run(self, user_id: str, run_id: UUID) -> list[ReceiptAttempt]:
        with store_errors():
            found = await self._pool.fetch(sql.USAGE_OF_RUN, run_id, user_id)
        return [rows.load_attempt(row) for row in found]

    async def of_user(
        self, user_id: str, *, limit: int, before: Position | None
    ) -> list[tuple[Position, ReceiptAttempt]]:
        start = before or _NEWEST
        with store_errors():
            found = await self._pool.fetch(
                sql.USAGE_OF_USER, user_id, limit, start.recorded_at, start.usage_id
            )
        return [(Position(row["recorded_at"], row["usage_id"]), rows.load_attempt(row)) for row in found]
