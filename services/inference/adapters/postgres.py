"""Attempts in Postgres."""

from typing import Any, Final
from uuid import UUID

import asyncpg

from services.inference.adapters.attempt_batches import AttemptBatches
from services.inference.domain.attempt import Attempt, KeyUsed
from services.inference.ports import AbandonedAttempt, StoredAttempt, StoredRun
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded, RunRequested
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeyPolicy, KeyService, KeySource
from shared.runtime.postgres import Pool, changed_rows, database_errors
from shared.runtime.tracing import OFF, Tracing

_CLAIM: Final = """
    insert into attempts (run_id, attempt, usage_id, worker, user_id, flow, policy, provider, model, stream,
                          claimed_at, key_source, credential_id, consent_id, service, credential_version,
                          would_refuse_policy, requested_at, deadline, kept, session_id, traceparent)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
            $22)
    on conflict (run_id, attempt) do nothing
    returning usage_id
"""
_CLAIMED_SO: Final = """
    select usage_id = $3 and outcome is null from attempts where run_id = $1 and attempt = $2
"""
_NOTE_KEY: Final = """
    update attempts set key_source = $3, credential_id = $4, consent_id = $5, service = $6,
                        credential_version = $7, would_refuse_policy = $8
    where run_id = $1 and attempt = $2 and outcome is null
"""
_FINISH: Final = """
    update attempts set outcome = $3, usage = $4, error = $5, ended_at = $6
    where run_id = $1 and attempt = $2 and outcome is null
    returning usage_id
"""
_FINISH_KEPT: Final = """
    with ended as (
        update attempts set outcome = $3, usage = $4, error = $5, ended_at = $6
        where run_id = $1 and attempt = $2 and outcome is null
        returning run_id, ended_at
    )
    insert into run_ends (run_id, ended_at, body) select run_id, ended_at, $7 from ended
    on conflict (run_id) do update set ended_at = excluded.ended_at, body = excluded.body
"""
_ENDED_SO: Final = "select usage = $3 from attempts where run_id = $1 and attempt = $2"
_IS_STALE: Final = "coalesce(clock_timestamp() - w.seen_at > make_interval(secs => $2), true)"
_OF_RUN: Final = f"""
    select a.*, {_IS_STALE} as stale
    from attempts a left join workers w using (worker)
    where a.run_id = $1
    order by a.attempt
"""  # noqa: S608
_ABANDONED: Final = f"""
    select a.* from attempts a left join workers w using (worker)
    where a.outcome is null and a.deadline < clock_timestamp() - make_interval(secs => $1)
      and ({_IS_STALE} or a.worker = $3)
    order by a.deadline limit $4
"""  # noqa: S608
_BEAT: Final = """
    with long_lost as (delete from workers where seen_at < clock_timestamp() - interval '1 day')
    insert into workers (worker, seen_at) values ($1, clock_timestamp())
    on conflict (worker) do update set seen_at = excluded.seen_at
"""


class PostgresAttemptStore:
    def __init__(self, pool: Pool, tracing: Tracing = OFF) -> None:
        self._pool = pool
        self._tracing = tracing
        self._claiming = AttemptBatches(pool, _CLAIM)
        self._finishing = AttemptBatches(pool, _FINISH)

    async def claim(self, attempt: Attempt, request: RunRequested) -> bool:
        """A row that is there is only looked at: whoever waits for its lock keeps a whole batch waiting."""
        is_new = await self._claiming.change(
            attempt.usage_id,
            attempt.run_id,
            attempt.number,
            attempt.usage_id,
            attempt.worker,
            request.user_id,
            request.flow,
            request.policy,
            request.provider,
            request.model,
            request.stream,
            attempt.claimed_at,
            *_key_columns(attempt.key),
            request.requested_at,
            request.deadline,
            request.kept,
            request.session_id,
            self._tracing.traceparent(),
        )
        return is_new or await self._is_so(_CLAIMED_SO, attempt.run_id, attempt.number, attempt.usage_id)

    async def note_key(self, attempt: Attempt) -> bool:
        return await self._changed(_NOTE_KEY, attempt.run_id, attempt.number, *_key_columns(attempt.key))

    async def finish(
        self, usage: UsageRecorded, error: ErrorBody | None, end: RunEnded | None = None
    ) -> bool:
        event = usage.model_dump_json()
        said = error.model_dump_json() if error else None
        values = (usage.run_id, usage.attempt, usage.outcome, event, said, usage.finished_at)
        if end is None:
            ended = await self._finishing.change(usage.usage_id, *values)
        else:
            ended = await self._changed(_FINISH_KEPT, *values, end.model_dump_json())
        return ended or await self._is_so(_ENDED_SO, usage.run_id, usage.attempt, event)

    async def attempts(self, run_id: UUID, *, stale_after_s: float) -> tuple[StoredAttempt, ...]:
        with database_errors():
            rows = await self._pool.fetch(_OF_RUN, run_id, stale_after_s)
        return tuple(_stored(row) for row in rows)

    async def abandoned(
        self, *, own: str, stale_after_s: float, overdue_s: float, limit: int
    ) -> tuple[AbandonedAttempt, ...]:
        with database_errors():
            rows = await self._pool.fetch(_ABANDONED, overdue_s, stale_after_s, own, limit)
        return tuple(AbandonedAttempt(_attempt(row), _run(row)) for row in rows)

    async def beat(self, worker: str) -> None:
        with database_errors():
            await self._pool.execute(_BEAT, worker)

    async def _is_so(self, question: str, *values: object) -> bool:
        """Find what was written and not answered. A statement of its own sees what came between."""
        with database_errors():
            return bool(await self._pool.fetchval(question, *values))

    async def _changed(self, statement: str, *values: object) -> bool:
        """Return whether a row was changed."""
        with database_errors():
            return changed_rows(await self._pool.execute(statement, *values)) > 0


def _key_columns(key: KeyUsed | None) -> tuple[str | int | None, ...]:
    if key is None:
        return (None,) * 6
    return (
        key.source,
        key.credential_id,
        key.consent_id,
        key.service,
        key.credential_version,
        key.would_refuse_policy,
    )


def _key(row: "asyncpg.Record") -> KeyUsed | None:
    if row["key_source"] is None:
        return None
    refuses: str | None = row["would_refuse_policy"]
    return KeyUsed(
        source=KeySource(row["key_source"]),
        credential_id=row["credential_id"],
        service=KeyService(row["service"]),
        consent_id=row["consent_id"],
        credential_version=row["credential_version"],
        would_refuse_policy=KeyPolicy(refuses) if refuses else None,
    )


def _attempt(row: "asyncpg.Record") -> Attempt:
    return Attempt(
        run_id=row["run_id"],
        number=row["attempt"],
        usage_id=row["usage_id"],
        worker=row["worker"],
        claimed_at=row["claimed_at"],
        key=_key(row),
    )


def _run(row: "asyncpg.Record") -> StoredRun:
    return StoredRun(
        user_id=row["user_id"],
        flow=row["flow"],
        policy=KeyPolicy(row["policy"]),
        provider=KeyService(row["provider"]),
        model=row["model"],
        stream=row["stream"],
        requested_at=row["requested_at"],
        kept=row["kept"],
        session_id=row["session_id"],
    )


def _stored(row: "asyncpg.Record") -> StoredAttempt:
    usage: Any = row["usage"]
    return StoredAttempt(
        attempt=_attempt(row),
        stale=row["stale"],
        usage=UsageRecorded.model_validate_json(usage) if usage else None,
        error=ErrorBody.model_validate_json(row["error"]) if row["error"] else None,
    )
