"""What users have, in Postgres."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import asyncpg

from services.billing.adapters import credit_sql as sql
from services.billing.adapters.cursors import END, dump_cursor, load_cursor
from services.billing.adapters.failures import store_errors
from services.billing.adapters.ledger_sql import OPEN_ACCOUNTS, PLAN_ANEW
from services.billing.adapters.rows import outgoing
from services.billing.domain.movement import Movement, Postings, event_of, keys
from services.billing.ports import Plan
from shared.contracts.credits import Balance, CreditsMoved, StatementEntry, StatementPage
from shared.kernel.errors import ConflictError
from shared.runtime.postgres import Pool

_Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Row: TypeAlias = asyncpg.Record


class PostgresCreditStore:
    """See `CreditStore`. Balances move by the database's own triggers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def move(self, movement: Movement, plan: Plan) -> CreditsMoved:
        with store_errors():
            while True:
                try:
                    return await self._move(movement, plan)
                except asyncpg.UniqueViolationError:
                    continue  # another user's movement took the key in between: now it is found

    async def balance(self, user_id: str) -> Balance:
        with store_errors():
            return _balance(await self._pool.fetch(sql.BALANCE, user_id))

    async def statement(self, user_id: str, *, limit: int, cursor: str | None) -> StatementPage:
        before, balance = load_cursor(cursor, 2) if cursor is not None else (END, None)
        with store_errors():
            rows = await self._pool.fetch(sql.STATEMENT, user_id, before, limit + 1)
        return _page(rows, limit, balance)

    async def _move(self, movement: Movement, plan: Plan) -> CreditsMoved:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(PLAN_ANEW)
            await connection.execute(OPEN_ACCOUNTS, [movement.user_id])
            balance = _balance(await connection.fetch(sql.LOCK_ACCOUNTS, movement.user_id))
            moved = await connection.fetch(sql.FIND_MOVED, movement.key)
            if not moved:
                await _post(connection, movement, plan(movement, balance))
                moved = await connection.fetch(sql.FIND_MOVED, movement.key)
            return _same(moved[0], movement)


async def _post(connection: _Connection, movement: Movement, postings: Postings) -> None:
    await connection.execute(
        sql.POST,
        [posting.kind for posting in postings],
        [posting.debit for posting in postings],
        [posting.credit for posting in postings],
        [posting.amount_micros for posting in postings],
        keys(movement, postings),
        movement.cause,
        movement.transfer_id,
        movement.user_id,
        movement.run_id,
        movement.reason,
        movement.made_by,
    )
    event = outgoing(event_of(movement, postings))
    await connection.execute(sql.TELL, event.event_id, event.routing_key, event.body)


def _same(row: _Row, movement: Movement) -> CreditsMoved:
    made = (row["user_id"], row["amount_micros"], row["reason"], row["run_id"])
    if made != (movement.user_id, movement.amount_micros, movement.reason, movement.run_id):
        raise ConflictError("this idempotency key was used with other contents")
    return CreditsMoved(
        transfer_id=row["cause_id"],
        user_id=row["user_id"],
        amount_micros=row["amount_micros"],
        receivable_micros=row["receivable_micros"],
        balance_micros=row["balance_micros"],
        created_at=row["created_at"],
    )


def _balance(rows: Iterable[_Row]) -> Balance:
    accounts = {row["kind"]: row for row in rows}
    user, receivable = accounts.get("user"), accounts.get("receivable")
    return Balance(
        balance_micros=user["posted_micros"] if user else 0,
        held_micros=user["held_micros"] if user else 0,
        receivable_micros=-receivable["posted_micros"] if receivable else 0,
    )


def _page(rows: Sequence[_Row], limit: int, balance: int | None) -> StatementPage:
    """`balance`: what was posted after the first row; None for the newest."""
    after = rows[0]["posted_micros"] if rows and balance is None else balance or 0
    entries = list[StatementEntry]()
    for row in rows[:limit]:
        entries.append(StatementEntry(**{**row, "balance_micros": after}))
        after -= row["amount_micros"]
    more = len(rows) > limit
    return StatementPage(
        items=tuple(entries), next_cursor=dump_cursor(rows[limit - 1]["seq"], after) if more else None
    )
