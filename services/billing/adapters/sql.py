"""The ledger's SQL. Accounts are locked in id order, before holds; who changes a hold locks its account."""

from typing import Final

LOCK_USERS: Final = """
SELECT user_id, posted_micros - held_micros AS available_micros FROM accounts
WHERE kind = 'user' AND user_id = ANY ($1::text[])
ORDER BY id FOR NO KEY UPDATE
"""

# Holds whose accounts are locked and have what they take.
HOLD: Final = """
WITH taken AS (
    INSERT INTO holds (run_id, attempt, user_id, amount_micros, expires_at, price, state)
    SELECT *, 'held'
    FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::bigint[], $5::timestamptz[], $6::jsonb[])
    RETURNING user_id, amount_micros
)
UPDATE accounts SET held_micros = held_micros + added.micros
FROM (SELECT user_id, sum(amount_micros)::bigint AS micros FROM taken GROUP BY user_id) AS added
WHERE kind = 'user' AND accounts.user_id = added.user_id
"""

FIND_HOLDS: Final = """
SELECT holds.run_id, holds.attempt, user_id, amount_micros, expires_at, price, state
FROM holds JOIN unnest($1::uuid[], $2::integer[]) AS wanted (run_id, attempt)
    ON holds.run_id = wanted.run_id AND holds.attempt = wanted.attempt
"""

# Users' accounts where there are none; in one order everywhere, since a new key locks too.
OPEN_ACCOUNTS: Final = """
INSERT INTO accounts (kind, user_id)
SELECT kind, user_id
FROM unnest($1::text[]) AS wanted (user_id), unnest(ARRAY['receivable', 'user']) AS kind
WHERE NOT EXISTS (SELECT FROM accounts WHERE (accounts.user_id, accounts.kind) = (wanted.user_id, kind.kind))
ORDER BY user_id, kind
ON CONFLICT DO NOTHING
"""

LOCK_ACCOUNTS: Final = """
SELECT id FROM accounts WHERE user_id = ANY ($1::text[]) OR (user_id IS NULL AND kind = $2)
ORDER BY id FOR NO KEY UPDATE
"""

# Keep the new usages; their holds, transfers, balances and events follow from what was kept.
# A platform attempt without a hold leaves a mark, so that a late authorization finds it over.
RECORD: Final = """
WITH entry AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::jsonb[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::text[], $10::bigint[], $11::text[], $12::boolean[], $13::uuid[], $14::text[],
        $15::jsonb[]
    ) AS e (
        usage_id, run_id, attempt, user_id, event, cost_micros, charged_micros, receivable_micros,
        price_version, released_micros, hold_state, unheld, event_id, event_type, payload
    )
), recorded AS (
    INSERT INTO usage (
        usage_id, run_id, attempt, user_id, event,
        cost_micros, charged_micros, receivable_micros, price_version
    )
    SELECT usage_id, run_id, attempt, user_id, event,
           cost_micros, charged_micros, receivable_micros, price_version
    FROM entry
    ON CONFLICT DO NOTHING
    RETURNING usage_id
), fresh AS (
    SELECT entry.* FROM entry JOIN recorded USING (usage_id)
), closed AS (
    UPDATE holds SET state = fresh.hold_state FROM fresh
    WHERE holds.run_id = fresh.run_id AND holds.attempt = fresh.attempt AND fresh.hold_state IS NOT NULL
), marked AS (
    INSERT INTO holds (run_id, attempt, user_id, amount_micros, expires_at, state)
    SELECT run_id, attempt, user_id, 0, now(), 'released' FROM fresh WHERE unheld
    ON CONFLICT DO NOTHING
), posted AS (
    INSERT INTO transfers (
        kind, debit_account, credit_account, amount_micros, idempotency_key, run_id, attempt
    )
    SELECT part.kind, debit.id, revenue.id, part.micros, part.kind || ':' || usage_id, run_id, attempt
    FROM fresh
    CROSS JOIN LATERAL (VALUES
        ('charge', 'user', charged_micros - receivable_micros),
        ('receivable', 'receivable', receivable_micros)
    ) AS part (kind, account, micros)
    JOIN accounts AS debit ON debit.user_id = fresh.user_id AND debit.kind = part.account
    JOIN accounts AS revenue ON revenue.user_id IS NULL AND revenue.kind = 'revenue'
    WHERE part.micros > 0
    RETURNING debit_account, credit_account, amount_micros
), moved AS (
    UPDATE accounts SET posted_micros = accounts.posted_micros + delta.posted,
                        held_micros = accounts.held_micros - delta.released
    FROM (
        SELECT account, sum(posted)::bigint AS posted, sum(released)::bigint AS released
        FROM (
            SELECT debit_account AS account, -amount_micros AS posted, 0 AS released FROM posted
            UNION ALL
            SELECT credit_account, amount_micros, 0 FROM posted
            UNION ALL
            SELECT id, 0, released_micros
            FROM fresh JOIN accounts USING (user_id) WHERE kind = 'user' AND released_micros > 0
        ) AS change
        GROUP BY account
    ) AS delta
    WHERE accounts.id = delta.account
), told AS (
    INSERT INTO outbox (event_id, type, payload)
    SELECT event_id, event_type, payload FROM fresh WHERE payload IS NOT NULL
)
SELECT usage_id FROM recorded
"""

GRANT: Final = """
WITH granted AS (
    INSERT INTO transfers (
        id, kind, debit_account, credit_account, amount_micros, idempotency_key, granted_by
    )
    SELECT $1, 'grant', grants.id, account.id, $3, $4, $5
    FROM accounts AS grants, accounts AS account
    WHERE grants.user_id IS NULL AND grants.kind = 'grants' AND account.user_id = $2 AND account.kind = 'user'
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING debit_account, credit_account, amount_micros
), moved AS (
    UPDATE accounts SET posted_micros = posted_micros
        + CASE id WHEN credit_account THEN amount_micros ELSE -amount_micros END
    FROM granted WHERE id IN (debit_account, credit_account)
), told AS (
    INSERT INTO outbox (event_id, type, payload) SELECT $6, $7, $8 FROM granted
)
SELECT 1 FROM granted
"""

FIND_GRANT: Final = """
SELECT transfers.id, user_id, amount_micros, posted_micros, created_at
FROM transfers JOIN accounts ON accounts.id = credit_account WHERE idempotency_key = $1
"""

FIND_EXPIRED: Final = "SELECT DISTINCT user_id FROM holds WHERE state = 'held' AND expires_at <= $1"

EXPIRE: Final = """
WITH expired AS (
    UPDATE holds SET state = 'expired'
    WHERE state = 'held' AND expires_at <= $1 AND user_id = ANY ($2::text[])
    RETURNING user_id, amount_micros
), moved AS (
    UPDATE accounts SET held_micros = held_micros - freed.micros
    FROM (SELECT user_id, sum(amount_micros)::bigint AS micros FROM expired GROUP BY user_id) AS freed
    WHERE kind = 'user' AND accounts.user_id = freed.user_id
)
SELECT count(*) FROM expired
"""

BALANCE: Final = "SELECT kind, posted_micros, held_micros FROM accounts WHERE user_id = $1"

USAGE_OF_RUN: Final = """
SELECT event, cost_micros, charged_micros FROM usage WHERE run_id = $1 AND user_id = $2 ORDER BY attempt
"""

USAGE_OF_USER: Final = """
SELECT recorded_at, usage_id, event, cost_micros, charged_micros FROM usage
WHERE user_id = $1 AND (recorded_at, usage_id) < ($3, $4)
ORDER BY recorded_at DESC, usage_id DESC LIMIT $2
"""

# Events that no other replica is publishing at this moment.
CLAIM_EVENTS: Final = """
SELECT event_id, type, payload FROM outbox ORDER BY event_id LIMIT $1 FOR UPDATE SKIP LOCKED
"""

FORGET_EVENTS: Final = "DELETE FROM outbox WHERE event_id = ANY ($1::uuid[])"

PRICES: Final = """
SELECT version, model, input_usd, output_usd, cached_usd, valid_from FROM prices ORDER BY valid_from, version
"""
