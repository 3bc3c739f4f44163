"""The ledger in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from services.billing.adapters import ledger_sql as sql
from services.billing.adapters import rows
from services.billing.adapters.failures import store_errors
from services.billing.domain.hold import Admission, Hold
from services.billing.domain.settlement import is_platforms
from services.billing.ports import Entry, Settle, Usage
from shared.runtime.postgres import Pool

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"


class PostgresLedgerStore:
    """See `LedgerStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        with store_errors():
            answers = await self._pool.fetch(sql.AUTHORIZE, *rows.hold_columns(holds))
        return [rows.load_admission(hold, row) for hold, row in zip(holds, answers, strict=True)]

    async def record(self, usages: Sequence[Usage], settle: Settle) -> list[Entry]:
        batch = rows.distinct(usages)
        with store_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql.PLAN_ANEW)
                accounts = await _lock(connection, batch)
                holds = await _holds(connection, batch)
                entries = [settle(usage, holds.get(usage.run_attempt)) for usage in batch]
                kept = await connection.fetch(sql.RECORD, *rows.entry_columns(entries, accounts))
        new = {row["usage_id"] for row in kept}
        return [entry for entry in entries if entry.usage.event.usage_id in new]

    async def expire_holds(self, now: datetime) -> int:
        with store_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql.PLAN_ANEW)
                users = [row["user_id"] for row in await connection.fetch(sql.FIND_EXPIRED, now)]
                if not users:
                    return 0
                await connection.execute(sql.LOCK_ACCOUNTS, users)
                return int(await connection.fetchval(sql.EXPIRE, now, users))


async def _lock(connection: Connection, batch: Sequence[Usage]) -> rows.Accounts:
    """Lock the accounts that the batch may move; open those that it may charge."""
    paying = {usage.event.user_id for usage in batch if is_platforms(usage.event.key_source)}
    if paying:
        await connection.execute(sql.OPEN_ACCOUNTS, list(paying))
    users = {usage.event.user_id for usage in batch}
    found = await connection.fetch(sql.LOCK_ACCOUNTS, list(users))
    return {(row["user_id"], row["kind"]): row["id"] for row in found}


async def _holds(connection: Connection, batch: Sequence[Usage]) -> dict[tuple[UUID, int], Hold]:
    runs, attempts = zip(*(usage.run_attempt for usage in batch), strict=True)
    found = await connection.fetch(sql.FIND_HOLDS, list(runs), list(attempts))
    return {(row["run_id"], row["attempt"]): rows.load_hold(row) for row in found}
