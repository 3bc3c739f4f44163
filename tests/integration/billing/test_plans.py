"""What was planned while tables were small does not outlive that: few rows among many are found by index."""

from collections import Counter
from typing import Any, Final

import asyncpg
import pytest

from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.domain.movement import plan
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING
from tests.fakes.billing import grant, hold_for, rated, usage
from tests.realm import TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

_MANY: Final = 20_000
_FEW: Final = 1_000
_GROW: Final = """
WITH opened AS (
    INSERT INTO billing.accounts (kind, user_id)
    SELECT 'user', 'many-' || n FROM generate_series(1, $1::int) AS n
)
INSERT INTO billing.holds (run_id, attempt, user_id, amount_micros, expires_at, state)
SELECT gen_random_uuid(), 1, 'many-' || n, 0, now(), 'released' FROM generate_series(1, $1::int) AS n
"""
_READ: Final = """
SELECT relname || '.' || way, read FROM pg_stat_user_tables,
    LATERAL (VALUES ('scanned', seq_tup_read), ('by index', coalesce(idx_tup_fetch, 0))) AS told (way, read)
WHERE schemaname = 'billing' AND relname IN ('accounts', 'holds')
"""
_OTHERS: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> ALL ($1::int[])
"""


class Teller:
    """Billing over one connection, which keeps its plans as long as it is open."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool
        self._ledger, self._credits = PostgresLedgerStore(pool), PostgresCreditStore(pool)

    async def work(self, batch: int) -> None:
        """A grant, a batch of holds, and their usage."""
        user = f"user-{new_id()}"
        await self._credits.move(grant(user, 1_000_000), plan)
        used = [usage(user_id=user) for _ in range(batch)]
        await self._ledger.authorize([hold_for(one.event, 3_000) for one in used])
        await self._ledger.record(used, rated)
        await self._ledger.expire_holds(used[0].event.finished_at)

    async def rows_read(self, admin: "asyncpg.Connection[Any]") -> Counter[str]:
        """Return how many rows of accounts and holds were read until now: both tell all of theirs."""
        for each in (self._pool, admin):
            await each.execute("SELECT pg_stat_force_next_flush()")
            await each.execute("SELECT 1")
        return Counter(dict(await admin.fetch(_READ)))


async def test_a_batch_reads_what_it_needs_however_large_the_tables_became(
    realm: TestRealm, database: "asyncpg.Connection[Any]"
) -> None:
    url = realm.env(BILLING)["LATCHKEY_POSTGRES_URL"]
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        teller = Teller(pool)
        await database.execute("ANALYZE billing.accounts")  # what the planner goes by
        for _ in range(10):  # as often as it takes for plans to be kept
            await teller.work(2)
        await _until_alone(pool, database)
        await database.execute(_GROW, _MANY)
        before = await teller.rows_read(database)
        for _ in range(10):
            await teller.work(2)
        read = await teller.rows_read(database) - before
        assert read.total() < _FEW, read


async def _until_alone(pool: "asyncpg.Pool[Any]", admin: "asyncpg.Connection[Any]") -> None:
    """Those who closed their connections a moment ago may still have to tell what they read."""
    own = [await each.fetchval("SELECT pg_backend_pid()") for each in (pool, admin)]

    async def are_gone() -> bool:
        return bool(await admin.fetchval(_OTHERS, own) == 0)

    await until(are_gone)
