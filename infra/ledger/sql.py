"""The SQL of a rebuild, run with `ledger_rebuild, billing` as search path.

`told_*` is what the stream says; `accounts_then` and `bounds` are the ledger as it was when the check began:
of `usage` and `transfers`, which only grow, the rows after `…_from` (the checkpoint's) and up to `…_to`.
"""

from typing import Final

SCHEMA: Final = "ledger_rebuild"

CREATE: Final = """
CREATE SCHEMA ledger_rebuild;
CREATE UNLOGGED TABLE staged_usage (
    stream_offset bigint, usage_id uuid, run_id uuid, attempt integer, user_id text, event jsonb,
    due_micros bigint
);
CREATE UNLOGGED TABLE told_usage (
    usage_id uuid PRIMARY KEY, stream_offset bigint, run_id uuid, attempt integer, user_id text, digest bytea,
    due_micros bigint
);
CREATE UNLOGGED TABLE staged_transfers (
    stream_offset bigint, cause_id uuid, kind text, cause text, user_id text, debit text, credit text,
    amount_micros bigint
);
CREATE UNLOGGED TABLE told_transfers (LIKE staged_transfers, PRIMARY KEY (cause_id, kind));
CREATE UNLOGGED TABLE differences (what text, subject text, kept text, rebuilt text);
CREATE UNLOGGED TABLE bounds (usage_from bigint, usage_to bigint, transfer_from bigint, transfer_to bigint);
CREATE UNLOGGED TABLE base (kind text, user_id text, posted_micros bigint);
CREATE UNLOGGED TABLE accounts_then (kind text, user_id text, posted_micros bigint);
"""
DROP: Final = "DROP SCHEMA IF EXISTS ledger_rebuild CASCADE"

# --- the tables at one moment -----------------------------------------------------------------------------

LOCK_LEDGER: Final = "LOCK TABLE billing.usage, billing.transfers IN SHARE MODE"
TAKE_BOUNDS: Final = """
INSERT INTO bounds
SELECT 0, coalesce((SELECT max(seq) FROM usage), 0), 0, coalesce((SELECT max(seq) FROM transfers), 0)
"""
TAKE_ACCOUNTS: Final = "INSERT INTO accounts_then SELECT kind, user_id, posted_micros FROM accounts"

# --- what the stream says ---------------------------------------------------------------------------------

USAGE_COLUMNS: Final = ("stream_offset", "usage_id", "run_id", "attempt", "user_id", "event", "due_micros")
TRANSFER_COLUMNS: Final = (
    *("stream_offset", "cause_id", "kind", "cause", "user_id", "debit", "credit", "amount_micros"),
)
DIFFERENCE_COLUMNS: Final = ("what", "subject", "kept", "rebuilt")

# The first of each id counts; one that says something else under the same id is told of.
TAKE_STAGED: Final = """
INSERT INTO told_usage
SELECT DISTINCT ON (usage_id) usage_id, stream_offset, run_id, attempt, user_id,
       sha256(convert_to(event::text, 'UTF8')), due_micros
FROM staged_usage ORDER BY usage_id, stream_offset
ON CONFLICT DO NOTHING;

INSERT INTO told_transfers
SELECT DISTINCT ON (cause_id, kind) * FROM staged_transfers ORDER BY cause_id, kind, stream_offset
ON CONFLICT DO NOTHING;

INSERT INTO differences
SELECT 'published twice with different contents', 'usage ' || usage_id,
       'offset ' || told.stream_offset, 'offset ' || staged.stream_offset
FROM staged_usage AS staged JOIN told_usage AS told USING (usage_id)
WHERE staged.stream_offset <> told.stream_offset
  AND sha256(convert_to(staged.event::text, 'UTF8')) <> told.digest;

INSERT INTO differences
SELECT 'published twice with different contents', 'transfer ' || cause_id || ' ' || kind,
       'offset ' || told.stream_offset, 'offset ' || staged.stream_offset
FROM staged_transfers AS staged JOIN told_transfers AS told USING (cause_id, kind)
WHERE (staged.user_id, staged.debit, staged.credit, staged.amount_micros)
      IS DISTINCT FROM (told.user_id, told.debit, told.credit, told.amount_micros);

TRUNCATE staged_usage, staged_transfers;
"""
ANALYZE: Final = "ANALYZE told_usage; ANALYZE told_transfers"

# --- whether all has come that is to come -----------------------------------------------------------------

ALL_PUBLISHED: Final = """
SELECT NOT EXISTS (
    SELECT FROM bounds JOIN usage ON seq > usage_from AND seq <= usage_to
    WHERE NOT EXISTS (SELECT FROM told_usage AS told WHERE told.usage_id = usage.usage_id)
) AND NOT EXISTS (
    SELECT FROM bounds JOIN transfers ON seq > transfer_from AND seq <= transfer_to
    WHERE NOT EXISTS (
        SELECT FROM told_transfers AS told
        WHERE told.cause_id = transfers.cause_id AND told.kind = transfers.kind
    )
)
"""
ALL_RECORDED: Final = """
SELECT NOT EXISTS (
    SELECT FROM told_usage AS told
    WHERE NOT EXISTS (SELECT FROM usage WHERE usage.usage_id = told.usage_id)
) AND NOT EXISTS (
    SELECT FROM told_transfers AS told
    WHERE NOT EXISTS (
        SELECT FROM transfers WHERE transfers.cause_id = told.cause_id AND transfers.kind = told.kind
    )
)
"""

# --- the comparison ---------------------------------------------------------------------------------------

_POSTED: Final = """
posted AS (
    SELECT cause_id, transfers.kind, cause, transfers.user_id, amount_micros,
           debit.kind AS debit, credit.kind AS credit
    FROM transfers
    JOIN accounts AS debit ON debit.id = debit_account
    JOIN accounts AS credit ON credit.id = credit_account
)
"""

COMPARE: Final = (
    """
INSERT INTO differences
SELECT 'recorded, but never published', 'usage ' || usage_id, charged_micros || ' micros charged', NULL
FROM bounds JOIN usage ON seq > usage_from AND seq <= usage_to
WHERE NOT EXISTS (SELECT FROM told_usage AS told WHERE told.usage_id = usage.usage_id)
""",
    """
INSERT INTO differences
SELECT 'published, but never recorded', 'usage ' || usage_id, NULL,
       coalesce(due_micros || ' micros due', 'not priced') || ', offset ' || stream_offset
FROM told_usage AS told
WHERE NOT EXISTS (SELECT FROM usage WHERE usage.usage_id = told.usage_id)
""",
    """
INSERT INTO differences
SELECT 'recorded otherwise than it was published', 'usage ' || usage_id,
       'user ' || usage.user_id || ', run ' || usage.run_id || '/' || usage.attempt,
       'user ' || told.user_id || ', run ' || told.run_id || '/' || told.attempt
           || ', offset ' || stream_offset
FROM told_usage AS told JOIN usage USING (usage_id)
WHERE sha256(convert_to(event::text, 'UTF8')) <> digest
   OR (usage.user_id, usage.run_id, usage.attempt) IS DISTINCT FROM (told.user_id, told.run_id, told.attempt)
""",
    """
INSERT INTO differences
SELECT 'charged otherwise than its usage event says', 'usage ' || usage_id, charged_micros || ' micros',
       due_micros || ' micros'
FROM told_usage AS told JOIN usage USING (usage_id)
WHERE charged_micros <> due_micros
""",
    """
INSERT INTO differences
SELECT 'charged otherwise than was published', 'usage ' || usage_id,
       charged_micros || ' micros, ' || receivable_micros || ' of them owed',
       coalesce(micros, 0) || ' micros, ' || coalesce(owed, 0) || ' of them owed'
FROM bounds JOIN usage ON seq > usage_from AND seq <= usage_to
JOIN told_usage USING (usage_id)
LEFT JOIN (
    SELECT cause_id, sum(amount_micros) AS micros,
           sum(amount_micros) FILTER (WHERE kind = 'receivable') AS owed
    FROM told_transfers WHERE cause = 'usage' GROUP BY cause_id
) AS paid ON cause_id = usage_id
WHERE (charged_micros, receivable_micros) <> (coalesce(micros, 0), coalesce(owed, 0))
""",
    """
INSERT INTO differences
SELECT 'posted, but never published', 'transfer ' || cause_id || ' ' || kind, amount_micros || ' micros', NULL
FROM bounds JOIN transfers ON seq > transfer_from AND seq <= transfer_to
WHERE NOT EXISTS (
    SELECT FROM told_transfers AS told
    WHERE told.cause_id = transfers.cause_id AND told.kind = transfers.kind
)
""",
    """
INSERT INTO differences
SELECT 'published, but never posted', 'transfer ' || cause_id || ' ' || kind, NULL,
       amount_micros || ' micros, offset ' || stream_offset
FROM told_transfers AS told
WHERE NOT EXISTS (
    SELECT FROM transfers WHERE transfers.cause_id = told.cause_id AND transfers.kind = told.kind
)
""",
    f"""
INSERT INTO differences
WITH {_POSTED}
SELECT 'posted otherwise than it was published', 'transfer ' || cause_id || ' ' || kind,
       posted.amount_micros || ' micros, ' || posted.debit || ' to ' || posted.credit
           || ' of ' || posted.user_id,
       told.amount_micros || ' micros, ' || told.debit || ' to ' || told.credit || ' of ' || told.user_id
FROM posted JOIN told_transfers AS told USING (cause_id, kind)
WHERE (posted.cause, posted.user_id, posted.debit, posted.credit, posted.amount_micros)
      IS DISTINCT FROM (told.cause, told.user_id, told.debit, told.credit, told.amount_micros)
""",  # noqa: S608 - no value is in it
    """
INSERT INTO differences
WITH counted AS (
    SELECT told.* FROM bounds, told_transfers AS told LEFT JOIN transfers USING (cause_id, kind)
    WHERE transfers.seq IS NULL OR (transfers.seq > transfer_from AND transfers.seq <= transfer_to)
), entry AS (
    SELECT credit AS kind, user_id, amount_micros AS micros FROM counted
    UNION ALL
    SELECT debit, user_id, -amount_micros FROM counted
    UNION ALL
    SELECT kind, user_id, posted_micros FROM base
), rebuilt AS (
    SELECT kind, CASE WHEN kind IN ('user', 'receivable') THEN user_id END AS user_id, sum(micros) AS micros
    FROM entry GROUP BY 1, 2
)
SELECT 'a balance differs', 'account ' || coalesce(kept.kind, rebuilt.kind)
           || coalesce(' of ' || coalesce(kept.user_id, rebuilt.user_id), ''),
       coalesce(posted_micros, 0) || ' micros', coalesce(micros, 0) || ' micros'
FROM accounts_then AS kept
FULL JOIN rebuilt ON rebuilt.kind = kept.kind AND coalesce(rebuilt.user_id, '') = coalesce(kept.user_id, '')
WHERE coalesce(posted_micros, 0) <> coalesce(micros, 0)
""",
)

DIFFERENCES: Final = "SELECT what, subject, kept, rebuilt FROM differences ORDER BY what, subject"
COUNTS: Final = """
SELECT (SELECT count(*) FROM told_usage) AS usage, (SELECT count(*) FROM told_transfers) AS transfers,
       (SELECT count(*) FROM accounts_then) AS balances
"""

# --- checkpoints ------------------------------------------------------------------------------------------

# One that was accepted; else the oldest that leaves no gap before the stream's first offset, so that most is
# compared; none while all is there. Those past the stream's end are of a stream that is lost.
FIND_CHECKPOINT: Final = """
SELECT id, stream_offset FROM checkpoints
WHERE stream_offset BETWEEN $1 - 1 AND $2 AND (accepted OR $1 > 0)
ORDER BY accepted DESC, stream_offset, id LIMIT 1
"""
BEGIN_AT_CHECKPOINT: Final = """
WITH taken AS (
    INSERT INTO base
    SELECT kind, user_id, posted_micros FROM checkpoint_balances WHERE checkpoint_id = $1
)
UPDATE bounds SET usage_from = usage_seq, transfer_from = transfer_seq FROM checkpoints WHERE id = $1
"""
# Nothing to begin at: what the tables say is taken as it is.
BEGIN_AT_TABLES: Final = """
WITH taken AS (INSERT INTO base SELECT * FROM accounts_then)
UPDATE bounds SET usage_from = usage_to, transfer_from = transfer_to
"""
# Up to where the stream tells only of rows within the bounds.
COVERED_OFFSET: Final = """
SELECT least(
    (SELECT min(stream_offset) FROM bounds, told_usage JOIN usage USING (usage_id) WHERE seq > usage_to),
    (SELECT min(stream_offset)
     FROM bounds, told_transfers JOIN transfers USING (cause_id, kind) WHERE seq > transfer_to)
) - 1
"""
MAKE_CHECKPOINT: Final = """
WITH made AS (
    INSERT INTO checkpoints (stream_offset, usage_seq, transfer_seq, accepted)
    SELECT $1, usage_to, transfer_to, $2 FROM bounds
    WHERE $2 OR NOT EXISTS (
        SELECT FROM checkpoints
        WHERE stream_offset >= $1 AND (usage_seq, transfer_seq) = (usage_to, transfer_to)
    )
    RETURNING id
)
INSERT INTO checkpoint_balances
SELECT id, kind, user_id, posted_micros FROM made, accounts_then
"""
# No replay begins at one before the stream's start, past its end, or before what was accepted.
FORGET_CHECKPOINTS: Final = """
DELETE FROM checkpoints
WHERE stream_offset NOT BETWEEN $1 - 1 AND $2
   OR id < (SELECT max(id) FROM checkpoints WHERE accepted AND stream_offset BETWEEN $1 - 1 AND $2)
"""
