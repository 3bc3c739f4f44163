"""The ledger's SQL. Users' accounts are locked in one order (by user and kind), and before their holds;
who changes a hold has locked its account.
"""

from typing import Final

OPEN_ACCOUNTS: Final = "SELECT open_accounts($1::text[])"

LOCK_ACCOUNTS: Final = "SELECT id, kind, user_id FROM lock_accounts($1::text[])"

AUTHORIZE: Final = """
SELECT answer, amount_micros, expires_at, quote FROM authorize_holds(
    $1::uuid[], $2::integer[], $3::text[], $4::bigint[], $5::timestamptz[], $6::jsonb[]
)
"""

FIND_HOLDS: Final = """
SELECT holds.run_id, holds.attempt, user_id, amount_micros, expires_at, quote, state
FROM holds JOIN unnest($1::uuid[], $2::integer[]) AS wanted (run_id, attempt)
    ON holds.run_id = wanted.run_id AND holds.attempt = wanted.attempt
"""

# Plan for what the tables hold by now, not for what they held when the connection was opened; and by index,
# also while the statistics still tell of small tables.
PLAN_ANEW: Final = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off"

# Keep the new usages; their holds, transfers and events follow from what was kept, and balances from these.
# Holds are closed before transfers are made, since what is charged was held until then.
# An attempt without a hold, and not on the user's own key, leaves a mark: a late authorization finds it over.
RECORD: Final = """
WITH entry AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::jsonb[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::text[], $10::text[], $11::text[], $12::boolean[], $13::bigint[], $14::bigint[],
        $15::uuid[], $16::text[], $17::text[]
    ) AS e (
        usage_id, run_id, attempt, user_id, event, cost_micros, charged_micros,
        receivable_micros, price_version, unrated, hold_state, unheld, account, receivable,
        event_id, routing_key, body
    )
), recorded AS (
    INSERT INTO usage (
        usage_id, run_id, attempt, user_id, event,
        cost_micros, charged_micros, receivable_micros, price_version, unrated
    )
    SELECT usage_id, run_id, attempt, user_id, event,
           cost_micros, charged_micros, receivable_micros, price_version, unrated
    FROM entry
    ON CONFLICT DO NOTHING
    RETURNING usage_id
), fresh AS (
    SELECT entry.* FROM entry JOIN recorded USING (usage_id)
), closed AS (
    UPDATE holds SET state = fresh.hold_state FROM fresh
    WHERE holds.run_id = fresh.run_id AND holds.attempt = fresh.attempt AND fresh.hold_state IS NOT NULL
    RETURNING holds.run_id
), marked AS (
    INSERT INTO holds (run_id, attempt, user_id, amount_micros, expires_at, state)
    SELECT run_id, attempt, user_id, 0, now(), 'released' FROM fresh WHERE unheld
    ON CONFLICT DO NOTHING
), posted AS (
    INSERT INTO transfers (
        kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key,
        user_id, run_id, attempt
    )
    SELECT part.kind, 'usage', usage_id, debit, revenue.id, micros, part.kind || ':' || usage_id,
           fresh.user_id, run_id, attempt
    FROM fresh
    CROSS JOIN LATERAL (VALUES
        ('charge', account, charged_micros - receivable_micros),
        ('receivable', receivable, receivable_micros)
    ) AS part (kind, debit, micros)
    JOIN accounts AS revenue ON revenue.user_id IS NULL AND revenue.kind = 'revenue'
    WHERE micros > 0 AND (SELECT count(*) FROM closed) >= 0
), told AS (
    INSERT INTO outbox (event_id, routing_key, body)
    SELECT event_id, routing_key, body FROM fresh WHERE event_id IS NOT NULL
)
SELECT usage_id FROM recorded
"""

FIND_EXPIRED: Final = "SELECT DISTINCT user_id FROM holds WHERE state = 'held' AND expires_at <= $1"

EXPIRE: Final = """
WITH expired AS (
    UPDATE holds SET state = 'expired'
    WHERE state = 'held' AND expires_at <= $1 AND user_id = ANY ($2::text[])
    RETURNING 1
)
SELECT count(*) FROM expired
"""
