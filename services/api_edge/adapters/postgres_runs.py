"""The edge's runs."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg

from services.api_edge.adapters.postgres import Database, idempotency_of, page_clause
from services.api_edge.domain.errors import OverLimitError
from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.runs import KeptRun, RunOwner, RunRecord, lost_end
from shared.contracts.runs import RunEnded
from shared.kernel.isolation import isolating
from shared.kernel.names import Outcome
from shared.runtime.batcher import Batcher
from shared.runtime.postgres import changed_rows, database_errors

_END_S = 30.0
"""Nobody waits for it, and whole answers take time."""

# One row a run; a batch is whatever is asked for meanwhile.
_ADD = """
INSERT INTO runs (run_id, user_id, flow, model, stream)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[])
"""
# Whose run it is, and whether its end is still to come.
_OWNER = "SELECT user_id, kept AND outcome IS NULL AS goes_on FROM runs WHERE run_id = $1"
# Unless so many of its user's go on already, $14; 0 is no limit.
_KEEP = """
INSERT INTO runs (run_id, user_id, flow, model, stream, kept, kind, created_at, start_by, deadline,
                  session_id, idempotency_key, request_sha256, council_id)
SELECT $1::uuid, $2::text, $3::text, $4::text, $5::boolean, true, $6::text, $7::timestamptz, $8::timestamptz,
       $9::timestamptz, $10::text, $11::text, $12::bytea, $13::uuid
WHERE $14::int = 0
   OR (SELECT count(*) FROM runs WHERE user_id = $2 AND kept AND outcome IS NULL AND deadline > now()) < $14
ON CONFLICT DO NOTHING
"""
_GOING_ON = "SELECT count(*) FROM runs WHERE user_id = $1 AND kept AND outcome IS NULL AND deadline > now()"
_LIGHT = """run_id, user_id, flow, model, stream, kind, created_at, start_by, deadline, session_id,
            idempotency_key, request_sha256, council_id, outcome, ended_at"""
_OF_KEY = f"SELECT {_LIGHT}, ending FROM runs WHERE user_id = $1 AND idempotency_key = $2"  # noqa: S608
_FIND = f"SELECT {_LIGHT}, ending FROM runs WHERE run_id = $2 AND user_id = $1 AND kept"  # noqa: S608
_FREE = """
UPDATE runs SET idempotency_key = NULL, outcome = coalesce(outcome, $2), ended_at = coalesce(ended_at, now())
WHERE run_id = $1
"""
# What has ended stays as it ended. What was only believed lost, at its deadline, ends as it is told at last.
_END = """
UPDATE runs SET outcome = told.outcome, ended_at = told.ended_at, ending = told.ending
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[]) AS told (run_id, outcome, ended_at, ending)
WHERE runs.run_id = told.run_id AND runs.kept
  AND (runs.outcome IS NULL OR (runs.outcome = 'interrupted' AND runs.ended_at = runs.deadline))
"""
_PAGE = f"SELECT {_LIGHT}, NULL AS ending FROM runs WHERE kept AND {page_clause('run_id')}"  # noqa: S608
_OUTCOMES = "SELECT run_id, outcome FROM runs WHERE user_id = $1 AND run_id = ANY($2::uuid[]) AND kept"
_FORGET = "UPDATE runs SET ending = NULL WHERE ending IS NOT NULL AND ended_at < $1"
_LOST = (
    f"SELECT {_LIGHT}, NULL AS ending FROM runs WHERE kept AND outcome IS NULL AND deadline < $1 LIMIT 100"  # noqa: S608
)

_DELETE = "SELECT forget_runs($1, $2)"


class PostgresRunStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._adding = Batcher(partial(isolating, handle=self._add))

    async def add(self, run: RunRecord) -> None:
        await self._adding.submit(run)

    async def owner(self, run_id: UUID) -> RunOwner | None:
        with database_errors():
            row = await self._database.pool().fetchrow(_OWNER, run_id)
        return None if row is None else RunOwner(row["user_id"], row["goes_on"])

    async def keep(self, run: KeptRun, at_once_max: int = 0) -> KeptRun | None:
        pool = self._database.pool()
        with database_errors():
            while not changed_rows(await pool.execute(_KEEP, *_values(run), at_once_max)):
                if (before := await self._there(run)) is not None:
                    return before
                if at_once_max and await pool.fetchval(_GOING_ON, run.record.user_id) >= at_once_max:
                    raise OverLimitError
                # else one that was in the way was let go in between
        return None

    async def _there(self, run: KeptRun) -> KeptRun | None:
        pool, user_id, key = self._database.pool(), run.record.user_id, run.idempotency
        row = await pool.fetchrow(_FIND, user_id, run.record.run_id)
        if row is None and key is not None:
            row = await pool.fetchrow(_OF_KEY, user_id, key.key)
        return None if row is None else _run(row)

    async def free(self, run_id: UUID) -> None:
        with database_errors():
            await self._database.pool().execute(_FREE, run_id, Outcome.CANCELLED)

    async def find(self, user_id: str, run_id: UUID) -> KeptRun | None:
        with database_errors():
            row = await self._database.pool().fetchrow(_FIND, user_id, run_id)
        return None if row is None else _run(row)

    async def end(self, ends: Sequence[RunEnded]) -> None:
        last = {end.run_id: end for end in reversed(ends)}  # of several for one run the first counts
        values = [(end.run_id, end.outcome, end.ended_at, end.model_dump_json()) for end in last.values()]
        if values:
            with database_errors():
                columns = map(list, zip(*values, strict=True))
                await self._database.pool().execute(_END, *columns, timeout=_END_S)

    async def page(
        self, user_id: str, *, limit: int, before: UUID | None, session_id: str | None
    ) -> tuple[KeptRun, ...]:
        with database_errors():
            rows = await self._database.pool().fetch(_PAGE, user_id, before, session_id, limit)
        return tuple(_run(row) for row in rows)

    async def outcomes(self, user_id: str, run_ids: Sequence[UUID]) -> dict[UUID, Outcome | None]:
        with database_errors():
            rows = await self._database.pool().fetch(_OUTCOMES, user_id, run_ids)
        return {row["run_id"]: _outcome(row) for row in rows}

    async def sweep(self, *, ended_before: datetime, lost_before: datetime) -> int:
        with database_errors():
            tag = await self._database.pool().execute(_FORGET, ended_before)
            lost = await self._database.pool().fetch(_LOST, lost_before)
        await self.end([lost_end(_run(row)) for row in lost])
        return changed_rows(tag)

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        with database_errors():
            return int(await self._database.pool().fetchval(_DELETE, born_before, limit))

    async def _add(self, runs: Sequence[RunRecord]) -> list[None]:
        columns = zip(*((r.run_id, r.user_id, r.flow, r.model, r.stream) for r in runs), strict=True)
        with database_errors():
            await self._database.pool().execute(_ADD, *columns)
        return [None] * len(runs)


def _values(run: KeptRun) -> tuple[Any, ...]:
    record, key = run.record, run.idempotency
    return (
        record.run_id,
        record.user_id,
        record.flow,
        record.model,
        record.stream,
        run.kind,
        run.created_at,
        run.start_by,
        run.deadline,
        run.session_id,
        key and key.key,
        key and key.request_sha256,
        run.council_id,
    )


def _run(row: "asyncpg.Record") -> KeptRun:
    return KeptRun(
        record=RunRecord(row["run_id"], row["user_id"], row["flow"], row["model"], row["stream"]),
        kind=RunKind(row["kind"]),
        created_at=row["created_at"],
        start_by=row["start_by"],
        deadline=row["deadline"],
        session_id=row["session_id"],
        council_id=row["council_id"],
        idempotency=idempotency_of(row),
        outcome=_outcome(row),
        ended_at=row["ended_at"],
        end=None if row["ending"] is None else RunEnded.model_validate_json(row["ending"]),
    )


def _outcome(row: "asyncpg.Record") -> Outcome | None:
    return None if row["outcome"] is None else Outcome(row["outcome"])
