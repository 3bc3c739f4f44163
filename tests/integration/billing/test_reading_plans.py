"""Lists of many rows are read from their end, page by page: by index, and never sorted."""

from typing import Any, Final

import asyncpg
import orjson
import pytest

from services.billing.adapters import credit_sql, usage_sql
from services.billing.adapters.cursors import END
from shared.contracts.billing import ListUsage
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

_ROWS: Final = 20_000
_LIMIT: Final = 50
_USAGE: Final = """
INSERT INTO billing.usage (usage_id, run_id, attempt, user_id, event, charged_micros, receivable_micros)
SELECT gen_random_uuid(), gen_random_uuid(), 1, CASE n % 2 WHEN 0 THEN $1 ELSE $1 || n END,
       jsonb_build_object('flow', 'chat', 'filler', repeat('x', 500)), 0, 0
FROM generate_series(1, $2::int) AS n
"""
_TRANSFERS: Final = """
WITH account AS (
    INSERT INTO billing.accounts (kind, user_id) VALUES ('user', $1) RETURNING id
)
INSERT INTO billing.transfers (
    kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, user_id
)
SELECT 'grant', 'grant', gen_random_uuid(), grants.id, account.id, 1, $1 || n, $1
FROM generate_series(1, $2::int) AS n, account, billing.accounts AS grants WHERE grants.kind = 'grants'
"""


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


async def test_a_page_reads_little_more_than_itself(
    realm: TestRealm, database: "asyncpg.Connection[Any]"
) -> None:
    user = f"user-{new_id()}"
    await database.execute(_USAGE, user, _ROWS)
    await database.execute(_TRANSFERS, user, _ROWS)
    await database.execute("ANALYZE billing.usage, billing.transfers, billing.accounts, billing.holds")
    queries = {
        "own": usage_sql.page(ListUsage(user_id=user, limit=_LIMIT), END),
        "own, of a flow": usage_sql.page(ListUsage(user_id=user, flow="chat", limit=_LIMIT), END),
        "everybody's": usage_sql.page(ListUsage(user_id=None, limit=_LIMIT), END),
        "a run's": (usage_sql.USAGE_OF_RUN, (new_id(), user)),
        "whether a run is open": (usage_sql.IS_OPEN, (new_id(), user)),
        "statement": (credit_sql.STATEMENT, (user, END, _LIMIT + 1)),
        "a movement": (credit_sql.FIND_MOVED, (f"{user}7",)),
    }
    connection = await asyncpg.connect(realm.env(BILLING)["LATCHKEY_POSTGRES_URL"])
    try:
        for name, (query, values) in queries.items():
            told = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values)
            nodes = _nodes(orjson.loads(told)[0]["Plan"])
            read = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes)
            assert read < 10 * _LIMIT, (name, told)
    finally:
        await connection.close()
