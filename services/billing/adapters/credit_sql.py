"""The SQL of what users have. The user's accounts are locked before anything is looked at."""

from typing import Final

LOCK_ACCOUNTS: Final = "SELECT kind, posted_micros, held_micros FROM lock_accounts(ARRAY[$1]::text[])"

BALANCE: Final = "SELECT kind, posted_micros, held_micros FROM accounts WHERE user_id = $1"

# A movement by its key, with all its transfers: what it changed in the user's accounts.
FIND_MOVED: Final = """
SELECT main.cause_id, main.user_id, main.reason, main.run_id, main.created_at,
       sum(part.amount_micros
           * ((credit.user_id IS NOT NULL)::integer - (debit.user_id IS NOT NULL)::integer)
       )::bigint AS amount_micros,
       sum(part.amount_micros
           * ((debit.kind = 'receivable')::integer - (credit.kind = 'receivable')::integer)
       )::bigint AS receivable_micros,
       (SELECT posted_micros FROM accounts WHERE accounts.user_id = main.user_id AND kind = 'user')
           AS balance_micros
FROM transfers AS main
JOIN transfers AS part ON part.idempotency_key = ANY (
    ARRAY[main.idempotency_key, 'receivable:' || main.cause_id, 'repayment:' || main.cause_id]
)
JOIN accounts AS debit ON debit.id = part.debit_account
JOIN accounts AS credit ON credit.id = part.credit_account
WHERE main.idempotency_key = $1
GROUP BY main.seq
"""

# The accounts are looked up by whose they are. Asked for "theirs or nobody's", a planner that knows the
# table as it was with a few rows reads all accounts of a kind.
POST: Final = """
WITH concerned AS MATERIALIZED (
    SELECT id, kind FROM accounts WHERE user_id = $8
    UNION ALL SELECT id, kind FROM accounts WHERE user_id IS NULL
)
INSERT INTO transfers (
    kind, debit_account, credit_account, amount_micros, idempotency_key,
    cause, cause_id, user_id, run_id, reason, made_by
)
SELECT posting.kind, debit.id, credit.id, posting.amount_micros, posting.key,
       $6, $7::uuid, $8, $9::uuid, $10, $11
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
    WITH ORDINALITY AS posting (kind, debit, credit, amount_micros, key, place)
JOIN concerned AS debit ON debit.kind = posting.debit
JOIN concerned AS credit ON credit.kind = posting.credit
ORDER BY posting.place
"""

TELL: Final = "INSERT INTO outbox (event_id, routing_key, body) VALUES ($1, $2, $3)"

# A user's transfers before one, newest first. Each statement sees balance and entries of one moment; a user's
# entries are in the order of their commits, since whoever adds one has locked the user's accounts.
STATEMENT: Final = """
WITH own AS (
    SELECT max(id) FILTER (WHERE kind = 'user') AS account,
           max(id) FILTER (WHERE kind = 'receivable') AS receivable,
           max(posted_micros) FILTER (WHERE kind = 'user') AS posted_micros
    FROM accounts WHERE user_id = $1
)
SELECT seq, kind, cause, cause_id, run_id, attempt, reason, created_at, posted_micros,
       amount_micros * ((credit_account = account)::integer - (debit_account = account)::integer)
           AS amount_micros,
       amount_micros * ((debit_account = receivable)::integer - (credit_account = receivable)::integer)
           AS receivable_micros
FROM transfers, own
WHERE user_id = $1 AND seq < $2
ORDER BY seq DESC LIMIT $3
"""
