"""Usage as billed, in Postgres."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from services.billing.adapters import usage_sql as sql
from services.billing.adapters.cursors import END, dump_cursor, load_cursor
from services.billing.adapters.failures import store_errors
from shared.contracts.billing import ListUsage, ReceiptAttempt, UsagePage, UsageTotals
from shared.contracts.usage import UsageRecorded
from shared.runtime.postgres import Pool


class PostgresUsageStore:
    """See `UsageStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def of_run(self, user_id: str, run_id: UUID) -> list[ReceiptAttempt]:
        with store_errors():
            found = await self._pool.fetch(sql.USAGE_OF_RUN, run_id, user_id)
        return [_attempt(row) for row in found]

    async def is_open(self, user_id: str, run_id: UUID) -> bool:
        with store_errors():
            return bool(await self._pool.fetchval(sql.IS_OPEN, run_id, user_id))

    async def page(self, request: ListUsage) -> UsagePage:
        before = END if request.cursor is None else load_cursor(request.cursor, 1)[0]
        page, values = sql.page(request, before)
        totals, asked = sql.totals(request)
        with store_errors():
            rows = await self._pool.fetch(page, *values)
            (summed,) = await self._pool.fetch(totals, *asked)
        return _page(rows, request.limit, UsageTotals(**summed))


def _page(rows: Sequence[asyncpg.Record], limit: int, totals: UsageTotals) -> UsagePage:
    more = len(rows) > limit
    return UsagePage(
        items=tuple(_attempt(row) for row in rows[:limit]),
        next_cursor=dump_cursor(rows[limit - 1]["seq"]) if more else None,
        totals=totals,
    )


def _attempt(row: asyncpg.Record) -> ReceiptAttempt:
    return ReceiptAttempt(
        usage=UsageRecorded.model_validate_json(row["event"]),
        cost_micros=row["cost_micros"],
        charged_micros=row["charged_micros"],
        price_version=row["price_version"],
        unrated=row["unrated"],
    )
