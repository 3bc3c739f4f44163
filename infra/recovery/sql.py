"""The SQL of a recovery. `told_*` is what the stream says, in tables of the session's own."""

from typing import Final

# What is told within an hour before the oldest of the attempts recorded last may not be known yet.
SINCE: Final = """
SELECT least(
    (SELECT min((event ->> 'finished_at')::timestamptz)
     FROM (SELECT event FROM billing.usage ORDER BY seq DESC LIMIT 1000) AS last),
    (SELECT created_at FROM billing.transfers ORDER BY seq DESC LIMIT 1)
) - interval '1 hour'
"""

# Whom a service is connected as.
CONNECTED: Final = """
SELECT DISTINCT usename FROM pg_stat_activity
WHERE datname = current_database() AND usename = ANY ($1::text[])
ORDER BY usename
"""

CREATE: Final = """
CREATE TEMP TABLE told_messages (stream_offset bigint PRIMARY KEY, at timestamptz, data jsonb);
CREATE TEMP TABLE told_usage (
    usage_id uuid PRIMARY KEY, stream_offset bigint, run_id uuid, attempt integer, user_id text,
    due_micros bigint
);
CREATE TEMP TABLE told_transfers (
    cause_id uuid, kind text, cause text, user_id text, debit text, credit text, amount_micros bigint,
    movement text, idempotency_key text, stream_offset bigint, PRIMARY KEY (cause_id, kind)
);
CREATE TEMP TABLE recorded (usage_id uuid PRIMARY KEY);
"""
ANALYZE: Final = "ANALYZE told_messages; ANALYZE told_usage; ANALYZE told_transfers"

TAKE_MESSAGES: Final = """
INSERT INTO told_messages SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::jsonb[])
ON CONFLICT DO NOTHING
"""
TAKE_USAGE: Final = """
INSERT INTO told_usage
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::integer[], $5::text[], $6::bigint[])
ON CONFLICT DO NOTHING
"""
TAKE_TRANSFERS: Final = """
INSERT INTO told_transfers
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[],
    $9::text[], $10::bigint[]
)
ON CONFLICT DO NOTHING
"""

# --- runs -----------------------------------------------------------------------------------------------

# Whose run it is: receipts are asked for by it.
NOTE_RUNS: Final = """
INSERT INTO edge.runs (run_id, user_id, flow, model, stream, session_id, created_at)
SELECT DISTINCT ON (run_id) run_id, user_id, data ->> 'flow', data ->> 'model', (data ->> 'stream')::boolean,
       data ->> 'session_id', (data ->> 'requested_at')::timestamptz
FROM told_usage JOIN told_messages USING (stream_offset)
ORDER BY run_id, attempt
ON CONFLICT DO NOTHING
"""
# Whoever gets such a run once more finds that it has ended.
END_ATTEMPTS: Final = """
INSERT INTO inference.attempts AS known (
    run_id, attempt, usage_id, worker, user_id, flow, policy, provider, model, stream, session_id,
    key_source, credential_id, consent_id, service, credential_version, would_refuse_policy,
    requested_at, claimed_at, deadline, outcome, usage, ended_at, published_at
)
SELECT told.run_id, told.attempt, told.usage_id, 'recovered', told.user_id, data ->> 'flow',
       data ->> 'policy', data ->> 'provider', data ->> 'model', (data ->> 'stream')::boolean,
       data ->> 'session_id',
       data ->> 'key_source', data ->> 'credential_id', data ->> 'consent_id', data ->> 'service',
       (data ->> 'credential_version')::integer, data ->> 'would_refuse_policy',
       (data ->> 'requested_at')::timestamptz, (data ->> 'started_at')::timestamptz,
       (data ->> 'finished_at')::timestamptz, data ->> 'outcome', data, (data ->> 'finished_at')::timestamptz,
       message.at
FROM told_usage AS told JOIN told_messages AS message USING (stream_offset)
WHERE told.attempt < 2 ^ 15 AND NOT EXISTS (
    SELECT FROM inference.attempts AS other
    WHERE other.usage_id = told.usage_id AND (other.run_id, other.attempt) <> (told.run_id, told.attempt)
)
ORDER BY told.stream_offset
ON CONFLICT (run_id, attempt) DO UPDATE SET
    usage_id = excluded.usage_id, key_source = excluded.key_source, credential_id = excluded.credential_id,
    consent_id = excluded.consent_id, service = excluded.service,
    credential_version = excluded.credential_version, would_refuse_policy = excluded.would_refuse_policy,
    outcome = excluded.outcome, usage = excluded.usage, ended_at = excluded.ended_at,
    published_at = excluded.published_at
WHERE known.outcome IS NULL
"""

# --- the ledger, as it was told ---------------------------------------------------------------------------

OPEN_ACCOUNTS: Final = """
SELECT billing.open_accounts(array_agg(DISTINCT user_id)) FROM told_transfers HAVING count(*) > 0
"""

# What was charged, and what costs its user nothing; the rest is billing's to rate.
RECORD_USAGE: Final = """
WITH paid AS (
    SELECT cause_id AS usage_id, sum(amount_micros)::bigint AS micros,
           max(data ->> 'price_version') AS price_version,
           coalesce(sum(amount_micros) FILTER (WHERE kind = 'receivable'), 0)::bigint AS owed
    FROM told_transfers JOIN told_messages USING (stream_offset)
    WHERE cause = 'usage' GROUP BY cause_id
), added AS (
    INSERT INTO billing.usage (
        usage_id, run_id, attempt, user_id, event,
        cost_micros, charged_micros, receivable_micros, price_version, recorded_at
    )
    SELECT usage_id, run_id, attempt, user_id, data, coalesce(micros, (data ->> 'cost_micros')::bigint),
           coalesce(micros, 0), coalesce(owed, 0), coalesce(paid.price_version, data ->> 'price_version'), at
    FROM told_usage JOIN told_messages USING (stream_offset) LEFT JOIN paid USING (usage_id)
    WHERE micros > 0 OR (due_micros = 0 AND num_nulls(data ->> 'cost_micros', data ->> 'price_version') = 0)
    ORDER BY stream_offset
    ON CONFLICT DO NOTHING
    RETURNING usage_id
)
INSERT INTO recorded SELECT usage_id FROM added
"""
END_HOLDS: Final = """
UPDATE billing.holds SET state = CASE WHEN charged_micros > 0 THEN 'settled' ELSE 'released' END
FROM billing.usage
WHERE state = 'held' AND usage.run_id = holds.run_id AND usage.attempt = holds.attempt;

UPDATE billing.holds SET state = 'expired'
WHERE state = 'held' AND NOT EXISTS (
    SELECT FROM inference.attempts
    WHERE attempts.run_id = holds.run_id AND attempts.attempt = holds.attempt AND outcome IS NOT NULL
);
"""
# All at once: in between an account might be overdrawn, since the stream's order is not quite the ledger's.
POST_TRANSFERS: Final = """
INSERT INTO billing.transfers (
    kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key,
    user_id, run_id, attempt, reason, made_by, created_at
)
SELECT told.kind, told.cause, told.cause_id, debit.id, credit.id, told.amount_micros, told.idempotency_key,
       told.user_id, (data ->> 'run_id')::uuid, (data ->> 'attempt')::integer, nullif(data ->> 'reason', ''),
       coalesce(data ->> 'granted_by', data ->> 'adjusted_by'), at
FROM told_transfers AS told
JOIN told_messages USING (stream_offset)
JOIN billing.accounts AS debit
    ON debit.kind = told.debit AND (debit.user_id = told.user_id OR debit.user_id IS NULL)
JOIN billing.accounts AS credit
    ON credit.kind = told.credit AND (credit.user_id = told.user_id OR credit.user_id IS NULL)
WHERE CASE WHEN told.cause = 'usage'
    THEN EXISTS (SELECT FROM recorded WHERE recorded.usage_id = told.cause_id)
    ELSE NOT EXISTS (SELECT FROM billing.transfers AS known WHERE known.idempotency_key = told.movement)
END
ORDER BY told.stream_offset, told.idempotency_key <> told.movement
"""

# --- what billing has not rated ---------------------------------------------------------------------------

UNRECORDED: Final = """
SELECT usage_id FROM inference.attempts
WHERE outcome IS NOT NULL AND NOT EXISTS (
    SELECT FROM billing.usage WHERE usage.run_id = attempts.run_id AND usage.attempt = attempts.attempt
)
ORDER BY ended_at
"""
USAGE: Final = "SELECT usage FROM inference.attempts WHERE usage_id = ANY ($1::uuid[])"

# --- keys and consents ------------------------------------------------------------------------------------

# A key that was revoked since, and one in whose place there is another: nobody is to use it again.
DESTROY: Final = """
DELETE FROM key_vault.credentials
USING unnest($1::uuid[], $2::integer[]) AS told (id, version)
WHERE credentials.id = told.id AND credentials.version < told.version
"""
SWITCH: Final = """
UPDATE key_vault.credentials
SET status = told.status, status_changed_at = told.at, status_said_at = told.at, updated_at = told.at
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::timestamptz[]) AS told (id, version, status, at)
WHERE credentials.id = told.id AND credentials.version = told.version
  AND credentials.status <> told.status AND credentials.updated_at < told.at
"""
CONSENT: Final = """
WITH told AS (
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::boolean[], $4::boolean[], $5::timestamptz[])
        AS decision (user_id, consent_id, platform, gateway, at)
), decided AS (
    INSERT INTO key_vault.consents (
        consent_id, user_id, allow_platform_fallback, allow_gateway_fallback, decided_at
    )
    SELECT consent_id, user_id, platform, gateway, at FROM told ON CONFLICT DO NOTHING
)
INSERT INTO key_vault.settings AS known (
    user_id, allow_platform_fallback, allow_gateway_fallback, consent_id, changed_at
)
SELECT DISTINCT ON (user_id) user_id, platform, gateway, consent_id, at FROM told ORDER BY user_id, at DESC
ON CONFLICT (user_id) DO UPDATE SET
    allow_platform_fallback = excluded.allow_platform_fallback,
    allow_gateway_fallback = excluded.allow_gateway_fallback,
    consent_id = excluded.consent_id, changed_at = excluded.changed_at
WHERE known.consent_id <> excluded.consent_id AND known.changed_at < excluded.changed_at
"""
