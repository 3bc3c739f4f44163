"""The ledger in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from services.billing.adapters import rows, sql
from services.billing.adapters.failures import store_errors
from services.billing.domain.admission import Admission, admit
from services.billing.domain.hold import Hold
from services.billing.domain.settlement import is_platforms
from services.billing.ports import Entry, Settle, Usage
from shared.contracts.credits import Balance, CreditsGranted, CreditsMoved
from shared.kernel.errors import ConflictError
from shared.kernel.ids import new_id

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"


class PostgresLedgerStore:
    """See `LedgerStore`."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    async def authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        with store_errors():
            while True:
                try:
                    return await self._authorize(holds)
                except asyncpg.UniqueViolationError:
                    continue  # one with the same key came in between: now it is found

    async def record(self, usages: Sequence[Usage], settle: Settle) -> list[Entry]:
        batch = rows.distinct(usages)
        with store_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await _lock(connection, batch)
                holds = await _holds(connection, [usage.run_attempt for usage in batch])
                entries = [settle(usage, holds.get(usage.run_attempt)) for usage in batch]
                kept = await connection.fetch(sql.RECORD, *rows.entry_columns(entries))
        new = {row["usage_id"] for row in kept}
        return [entry for entry in entries if entry.usage.event.usage_id in new]

    async def grant(self, granted: CreditsGranted, idempotency_key: str) -> CreditsMoved:
        key = f"grant:{idempotency_key}"
        with store_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql.OPEN_ACCOUNTS, [granted.user_id])
                await connection.execute(sql.LOCK_ACCOUNTS, [granted.user_id], "grants")
                await connection.execute(
                    sql.GRANT,
                    granted.transfer_id,
                    granted.user_id,
                    granted.amount_micros,
                    key,
                    granted.granted_by,
                    new_id(),
                    granted.event_type(),
                    granted.model_dump_json(),
                )
                found = await connection.fetchrow(sql.FIND_GRANT, key)
        return _same_grant(found, granted)

    async def expire_holds(self, now: datetime) -> int:
        with store_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                users = [row["user_id"] for row in await connection.fetch(sql.FIND_EXPIRED, now)]
                if not users:
                    return 0
                await connection.execute(sql.LOCK_USERS, users)
                return int(await connection.fetchval(sql.EXPIRE, now, users))

    async def balance(self, user_id: str) -> Balance:
        with store_errors():
            accounts = {row["kind"]: row for row in await self._pool.fetch(sql.BALANCE, user_id)}
        user, receivable = accounts.get("user"), accounts.get("receivable")
        return Balance(
            balance_micros=user["posted_micros"] if user else 0,
            held_micros=user["held_micros"] if user else 0,
            receivable_micros=-receivable["posted_micros"] if receivable else 0,
        )

    async def _authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        async with self._pool.acquire() as connection, connection.transaction():
            accounts = await connection.fetch(sql.LOCK_USERS, sorted({hold.user_id for hold in holds}))
            standing = await _holds(connection, [(hold.run_id, hold.attempt) for hold in holds])
            available = {row["user_id"]: row["available_micros"] for row in accounts}
            answers = admit(holds, standing, available)
            taken = [hold for hold, answer in zip(holds, answers, strict=True) if answer is hold]
            if taken:
                await connection.execute(sql.HOLD, *rows.hold_columns(taken))
        return answers


async def _lock(connection: Connection, batch: Sequence[Usage]) -> None:
    """Lock the accounts that the batch may move, in id order; open those that it may charge."""
    paying = {usage.event.user_id for usage in batch if is_platforms(usage.event.key_source)}
    if paying:
        await connection.execute(sql.OPEN_ACCOUNTS, sorted(paying))
    users = {usage.event.user_id for usage in batch}
    await connection.execute(sql.LOCK_ACCOUNTS, sorted(users), "revenue")


async def _holds(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], Hold]:
    found = await connection.fetch(sql.FIND_HOLDS, [run_id for run_id, _ in keys], [n for _, n in keys])
    return {(row["run_id"], row["attempt"]): rows.load_hold(row) for row in found}


def _same_grant(found: Any, granted: CreditsGranted) -> CreditsMoved:
    if (found["user_id"], found["amount_micros"]) != (granted.user_id, granted.amount_micros):
        raise ConflictError("this idempotency key was used for another grant")
    return CreditsMoved(
        transfer_id=found["id"],
        user_id=found["user_id"],
        amount_micros=found["amount_micros"],
        balance_micros=found["posted_micros"],
        created_at=found["created_at"],
    )
