"""A batch of usage events, inserted table by table; and a ledger that has been in use for long."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

LAST_USAGE: Final = "SELECT coalesce(max(seq), 0) FROM usage"
IS_TOLD: Final = "SELECT NOT EXISTS (SELECT FROM outbox)"
TOUCH: Final = "UPDATE accounts SET posted_micros = posted_micros + 0 WHERE user_id = $1 AND kind = 'user'"

OPEN: Final = """
WITH opened AS (
    INSERT INTO accounts (kind, user_id)
    SELECT kind, user_id FROM unnest($1::text[]) AS user_id, unnest(ARRAY['receivable', 'user']) AS kind
    RETURNING id, kind, user_id
)
INSERT INTO transfers (
    kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, user_id, made_by
)
SELECT 'grant', 'grant', gen_random_uuid(), grants.id, opened.id, 1000000000000, 'grant:' || opened.user_id,
       opened.user_id, 'bench'
FROM opened, accounts AS grants WHERE opened.kind = 'user' AND grants.kind = 'grants'
"""

_USAGE: Final = """
INSERT INTO usage (
    usage_id, run_id, attempt, user_id, event, cost_micros, charged_micros, receivable_micros, price_version
)
SELECT * FROM unnest(
    $1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::jsonb[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::text[]
)
"""

_HOLDS: Final = """
UPDATE holds SET state = 'settled' FROM unnest($1::uuid[], $2::integer[]) AS ended (run_id, attempt)
WHERE holds.run_id = ended.run_id AND holds.attempt = ended.attempt
"""

# The balances follow by its trigger.
_TRANSFERS: Final = """
INSERT INTO transfers (
    kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, user_id,
    run_id, attempt
)
SELECT 'charge', 'usage', usage_id, accounts.id, (SELECT id FROM accounts WHERE kind = 'revenue'), micros,
       'charge:' || usage_id, wanted.user_id, run_id, attempt
FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::bigint[])
    AS wanted (usage_id, run_id, attempt, user_id, micros)
JOIN accounts ON accounts.user_id = wanted.user_id AND accounts.kind = 'user'
"""

_OUTBOX: Final = """
INSERT INTO outbox (event_id, routing_key, body) SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
"""

# Consistent, as `ledger_faults` tells; made without triggers, since it would take hours with them.
GROW: Final = (
    "SET session_replication_role = replica",
    """
    CREATE TEMPORARY TABLE old AS
    SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7000' || lpad(to_hex(n), 16, '8'))::uuid AS usage_id,
           (lpad(to_hex(1700000000000 + n), 12, '0') || '7001' || lpad(to_hex(n), 16, '8'))::uuid AS run_id,
           'old-' || n % {users} AS user_id
    FROM generate_series(1, {rows}) AS n
    """,
    """
    INSERT INTO accounts (kind, user_id)
    SELECT kind, user_id FROM (SELECT DISTINCT user_id FROM old) AS users,
                              unnest(ARRAY['receivable', 'user']) AS kind
    """,
    """
    INSERT INTO usage (
        usage_id, run_id, attempt, user_id, event, cost_micros, charged_micros, receivable_micros
    )
    SELECT usage_id, run_id, 1, user_id, jsonb_build_object(
               'flow', 'deep_analysis', 'key_source', 'platform', 'provider', 'openai',
               'outcome', 'completed', 'model', 'openai/gpt-4o-mini', 'usage_id', usage_id,
               'run_id', run_id, 'user_id', user_id,
               'tokens', jsonb_build_object('prompt', 10, 'completion', 5, 'source', 'measured')
           ), 10, 10, 0
    FROM old
    """,
    """
    INSERT INTO holds (run_id, attempt, user_id, amount_micros, expires_at, state)
    SELECT run_id, 1, user_id, 20, now(), 'settled' FROM old
    """,
    """
    INSERT INTO transfers (
        kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, user_id
    )
    SELECT 'grant', 'grant', gen_random_uuid(), grants.id, owned.id, {rows},
           'grant:' || owned.user_id, owned.user_id
    FROM accounts AS owned, accounts AS grants
    WHERE owned.kind = 'user' AND starts_with(owned.user_id, 'old-') AND grants.kind = 'grants'
    """,
    """
    INSERT INTO transfers (
        kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, user_id,
        run_id, attempt
    )
    SELECT 'charge', 'usage', usage_id, owned.id, revenue.id, 10, 'charge:' || usage_id, old.user_id,
           run_id, 1
    FROM old JOIN accounts AS owned ON owned.user_id = old.user_id AND owned.kind = 'user'
    JOIN accounts AS revenue ON revenue.kind = 'revenue'
    """,
    """
    UPDATE accounts SET posted_micros = transfers_micros FROM ledger_check
    WHERE accounts.id = ledger_check.id AND accounts.posted_micros <> transfers_micros
    """,
    "DROP TABLE old",
    "SET session_replication_role = DEFAULT",
    "VACUUM ANALYZE",
)


async def insert(connection: "asyncpg.pool.PoolConnectionProxy[Any]", columns: Sequence[list[Any]]) -> None:
    """Insert a batch in one transaction; `columns` as billing's `rows.entry_columns` returns them."""
    usage_id, run_id, attempt, user_id, _, _, charged, *_ = columns
    async with connection.transaction():
        await connection.execute(_USAGE, *columns[:9])
        await connection.execute(_HOLDS, run_id, attempt)
        await connection.execute(_TRANSFERS, usage_id, run_id, attempt, user_id, charged)
        await connection.execute(_OUTBOX, *columns[-3:])
