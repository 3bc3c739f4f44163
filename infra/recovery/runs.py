"""Runs and attempts that have ended since the backup."""

from typing import Final

from infra.bootstrap.postgres import Connection
from shared.runtime.postgres import changed_rows

# Whose run it is: receipts are asked for by it. And of which council it is the last one, which are kept runs.
_NOTE: Final = """
INSERT INTO edge.runs (
    run_id, user_id, flow, model, stream, session_id, created_at, council_id, kept, start_by, deadline
)
SELECT DISTINCT ON (run_id) run_id, told.user_id, data ->> 'flow', data ->> 'model',
       (data ->> 'stream')::boolean, data ->> 'session_id', requested_at, council_id, council_id IS NOT NULL,
       CASE WHEN council_id IS NOT NULL THEN requested_at END,
       CASE WHEN council_id IS NOT NULL THEN requested_at END
FROM told_usage AS told
JOIN (SELECT *, (data ->> 'requested_at')::timestamptz AS requested_at FROM told_messages) AS message
    USING (stream_offset)
LEFT JOIN edge.councils ON synthesis_id = run_id AND councils.user_id = told.user_id
ORDER BY run_id, attempt
ON CONFLICT DO NOTHING
"""
# Kept runs, whose answers are lost; but not where a worker still has to tell of one.
_END_KEPT: Final = """
UPDATE edge.runs SET outcome = last.outcome, ended_at = last.ended_at
FROM (
    SELECT DISTINCT ON (run_id) run_id, data ->> 'outcome' AS outcome,
           (data ->> 'finished_at')::timestamptz AS ended_at
    FROM told_usage JOIN told_messages USING (stream_offset)
    ORDER BY run_id, attempt DESC
) AS last
WHERE runs.run_id = last.run_id AND runs.kept AND runs.outcome IS NULL
  AND NOT EXISTS (SELECT FROM inference.run_ends WHERE run_ends.run_id = runs.run_id)
"""
# Whoever gets such a run once more finds that it has ended.
_END_ATTEMPTS: Final = """
INSERT INTO inference.attempts AS known (
    run_id, attempt, usage_id, worker, user_id, flow, policy, provider, model, stream, session_id,
    key_source, credential_id, consent_id, service, credential_version, would_refuse_policy,
    requested_at, claimed_at, deadline, outcome, usage, ended_at, published_at
)
SELECT run_id, attempt, usage_id, 'recovered', user_id, data ->> 'flow',
       data ->> 'policy', data ->> 'provider', data ->> 'model', (data ->> 'stream')::boolean,
       data ->> 'session_id', data ->> 'key_source', data ->> 'credential_id', data ->> 'consent_id',
       data ->> 'service', (data ->> 'credential_version')::integer, data ->> 'would_refuse_policy',
       (data ->> 'requested_at')::timestamptz, (data ->> 'started_at')::timestamptz,
       (data ->> 'finished_at')::timestamptz, data ->> 'outcome', data, (data ->> 'finished_at')::timestamptz,
       at
FROM told_usage AS told JOIN told_messages USING (stream_offset)
WHERE attempt < 2 ^ 15 AND NOT EXISTS (
    SELECT FROM inference.attempts AS other
    WHERE other.usage_id = told.usage_id AND (other.run_id, other.attempt) <> (told.run_id, told.attempt)
)
ORDER BY stream_offset
ON CONFLICT (run_id, attempt) DO UPDATE SET
    usage_id = excluded.usage_id, key_source = excluded.key_source, credential_id = excluded.credential_id,
    consent_id = excluded.consent_id, service = excluded.service,
    credential_version = excluded.credential_version, would_refuse_policy = excluded.would_refuse_policy,
    outcome = excluded.outcome, usage = excluded.usage, ended_at = excluded.ended_at,
    published_at = excluded.published_at
WHERE known.outcome IS NULL
"""
# Of the others nobody will tell any more: as if they were long over, their sweeps end them at once. What a
# council is still to ask may have been asked.
_GIVE_UP: Final = """
UPDATE inference.attempts SET deadline = least(deadline, now() - interval '1 hour') WHERE outcome IS NULL;
UPDATE edge.runs SET deadline = least(deadline, now() - interval '1 hour')
WHERE kept AND outcome IS NULL
  AND NOT EXISTS (SELECT FROM inference.run_ends WHERE run_ends.run_id = runs.run_id);
UPDATE edge.councils SET question = NULL WHERE question IS NOT NULL;
"""


async def end_runs(database: Connection) -> int:
    """In the caller's transaction, after `told.take`. Return how many attempts have ended."""
    await database.execute(_NOTE)
    await database.execute(_END_KEPT)
    attempts = changed_rows(await database.execute(_END_ATTEMPTS))
    await database.execute(_GIVE_UP)
    return attempts
