"""The ledger, brought up to what was told: what was charged, granted and adjusted, as it was posted then."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from infra.bootstrap.postgres import Connection
from shared.runtime.postgres import changed_rows

# Of what was asked for twice with one key, since an earlier backup was restored, the first counts.
_FIND_MISSING: Final = """
CREATE TEMP TABLE missing ON COMMIT DROP AS
SELECT told.* FROM (
    SELECT *, first_value(cause_id) OVER (
        PARTITION BY coalesce(movement, cause_id::text) ORDER BY stream_offset
    ) AS first_cause
    FROM told_transfers
) AS told LEFT JOIN told_usage AS paid ON paid.usage_id = told.cause_id
WHERE cause_id = first_cause AND CASE WHEN told.cause = 'usage'
    THEN paid.usage_id IS NOT NULL
         AND NOT EXISTS (SELECT FROM billing.usage WHERE usage.usage_id = paid.usage_id)
         AND NOT EXISTS (
             SELECT FROM billing.usage WHERE usage.run_id = paid.run_id AND usage.attempt = paid.attempt
         )
    ELSE NOT EXISTS (SELECT FROM billing.transfers AS known WHERE known.idempotency_key = told.movement)
         AND NOT EXISTS (SELECT FROM billing.transfers AS known WHERE known.cause_id = told.cause_id)
END;

-- What each account will have then.
CREATE TEMP TABLE later ON COMMIT DROP AS
WITH entry AS (
    SELECT credit AS kind, user_id, amount_micros AS micros FROM missing
    UNION ALL
    SELECT debit, user_id, -amount_micros FROM missing
)
SELECT kind, user_id, coalesce(min(posted_micros), 0) + sum(micros) AS micros
FROM entry LEFT JOIN billing.accounts USING (kind, user_id)
WHERE kind IN ('user', 'receivable') GROUP BY kind, user_id;

-- Who would have less than nothing, or pay back more than is owed: not all that came before is told of.
CREATE TEMP TABLE short ON COMMIT DROP AS
SELECT user_id, kind, abs(micros)::bigint AS micros FROM later
WHERE (kind = 'user' AND micros < 0) OR (kind = 'receivable' AND micros > 0);
DELETE FROM missing WHERE user_id IN (SELECT user_id FROM short);
ANALYZE missing
"""
_OPEN_ACCOUNTS: Final = """
SELECT billing.open_accounts(array_agg(DISTINCT user_id)) FROM missing HAVING count(*) > 0
"""
# What was charged, and what costs its user nothing; the rest is billing's to rate.
_RECORD_USAGE: Final = """
WITH paid AS (
    SELECT cause_id AS usage_id, sum(amount_micros)::bigint AS micros,
           max(data ->> 'price_version') AS price_version,
           coalesce(sum(amount_micros) FILTER (WHERE kind = 'receivable'), 0)::bigint AS owed
    FROM told_transfers JOIN told_messages USING (stream_offset)
    WHERE cause = 'usage' GROUP BY cause_id
)
INSERT INTO billing.usage (
    usage_id, run_id, attempt, user_id, event,
    cost_micros, charged_micros, receivable_micros, price_version, recorded_at
)
SELECT usage_id, run_id, attempt, user_id, data, coalesce(micros, (data ->> 'cost_micros')::bigint),
       coalesce(micros, 0), coalesce(owed, 0), coalesce(paid.price_version, data ->> 'price_version'), at
FROM told_usage JOIN told_messages USING (stream_offset) LEFT JOIN paid USING (usage_id)
WHERE (micros > 0 OR (due_micros = 0 AND num_nulls(data ->> 'cost_micros', data ->> 'price_version') = 0))
  AND user_id NOT IN (SELECT user_id FROM short)
ORDER BY stream_offset
ON CONFLICT DO NOTHING
"""
# Nobody runs any more. A hold whose attempt is still to be rated stays, unless what it holds was spent since.
_END_HOLDS: Final = """
UPDATE billing.holds SET state = CASE WHEN charged_micros > 0 THEN 'settled' ELSE 'released' END
FROM billing.usage
WHERE state = 'held' AND usage.run_id = holds.run_id AND usage.attempt = holds.attempt;

UPDATE billing.holds SET state = 'expired'
WHERE state = 'held' AND NOT EXISTS (
    SELECT FROM inference.attempts
    WHERE attempts.run_id = holds.run_id AND attempts.attempt = holds.attempt AND outcome IS NOT NULL
);

UPDATE billing.holds SET state = 'expired'
FROM later JOIN billing.accounts USING (kind, user_id)
WHERE state = 'held' AND holds.user_id = later.user_id AND kind = 'user' AND micros < held_micros;
"""
# All at once: in between an account might be overdrawn, since the stream's order is not quite the ledger's.
_POST: Final = """
INSERT INTO billing.transfers (
    kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key,
    user_id, run_id, attempt, reason, made_by, created_at
)
SELECT missing.kind, missing.cause, missing.cause_id, debit.id, credit.id, missing.amount_micros,
       missing.idempotency_key, missing.user_id, (data ->> 'run_id')::uuid, (data ->> 'attempt')::integer,
       nullif(data ->> 'reason', ''), coalesce(data ->> 'granted_by', data ->> 'adjusted_by'), at
FROM missing
JOIN told_messages USING (stream_offset)
JOIN billing.accounts AS debit ON debit.kind = missing.debit AND coalesce(debit.user_id, '')
    = CASE WHEN missing.debit IN ('user', 'receivable') THEN missing.user_id ELSE '' END
JOIN billing.accounts AS credit ON credit.kind = missing.credit AND coalesce(credit.user_id, '')
    = CASE WHEN missing.credit IN ('user', 'receivable') THEN missing.user_id ELSE '' END
WHERE missing.cause <> 'usage' OR EXISTS (SELECT FROM billing.usage WHERE usage.usage_id = missing.cause_id)
ORDER BY missing.stream_offset, missing.idempotency_key IS DISTINCT FROM missing.movement
"""
# No two prices have one name.
_SKIP_PRICE_VERSIONS: Final = """
SELECT setval(pg_get_serial_sequence('billing.prices', 'version'), version) FROM (
    SELECT max(substring(data ->> 'price_version' FROM '^prices-([0-9]{1,18})$')::bigint) AS version
    FROM told_messages
) AS told
WHERE version > (SELECT coalesce(max(version), 0) FROM billing.prices)
"""
_REMEMBER: Final = """
WITH found AS (
    INSERT INTO billing.unrecovered SELECT DISTINCT user_id, $1::timestamptz FROM short
    ON CONFLICT (user_id) DO UPDATE SET since = least(unrecovered.since, excluded.since)
    RETURNING user_id
)
DELETE FROM billing.unrecovered WHERE user_id NOT IN (SELECT user_id FROM short)
"""
_SHORT: Final = "SELECT user_id, kind = 'receivable' AS is_debt, micros FROM short ORDER BY user_id, kind"


class LeftOut(NamedTuple):
    """A user who is told to have spent credits that are not told to have been given, or (`is_debt`) to have
    paid back what is not told to have been owed.
    """

    user_id: str
    is_debt: bool
    micros: int


@dataclass(frozen=True)
class Posted:
    """How many usage events, and how many transfers."""

    usage: int
    transfers: int
    left_out: tuple[LeftOut, ...]


async def post(database: Connection, since: datetime) -> Posted:
    """In the caller's transaction, after `told.take` and `runs.end_runs`; `since`: what was read from."""
    await database.execute(_FIND_MISSING)
    await database.execute(_OPEN_ACCOUNTS)
    usage = changed_rows(await database.execute(_RECORD_USAGE))
    await database.execute(_END_HOLDS)
    transfers = changed_rows(await database.execute(_POST))
    await database.execute(_SKIP_PRICE_VERSIONS)
    await database.execute(_REMEMBER, since)
    left_out = (LeftOut(*row) for row in await database.fetch(_SHORT))
    return Posted(usage, transfers, tuple(left_out))
