"""The edge's councils."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from services.api_edge.adapters.postgres import Database, idempotency_of, page_clause
from services.api_edge.domain.council import Council, CouncilMember, Question
from shared.kernel.names import KeyService, Role
from shared.runtime.postgres import changed_rows, database_errors

_COLUMNS: Final = (
    "council_id, user_id, members, synthesis_id, created_at, deadline, session_id, idempotency_key, "
    "request_sha256, question"
)
_KEEP: Final = f"""
INSERT INTO councils ({_COLUMNS}) VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
"""  # noqa: S608 - columns of ours
_OF_KEY: Final = f"SELECT {_COLUMNS} FROM councils WHERE user_id = $1 AND idempotency_key = $2"  # noqa: S608
_FIND: Final = f"SELECT {_COLUMNS} FROM councils WHERE user_id = $1 AND council_id = $2"  # noqa: S608
_PAGE: Final = f"SELECT {_COLUMNS} FROM councils WHERE {page_clause('council_id')}"  # noqa: S608
_CLOSE: Final = """
UPDATE councils SET question = NULL, idempotency_key = CASE WHEN $2 THEN NULL ELSE idempotency_key END
WHERE council_id = $1
"""
_SWEEP: Final = "UPDATE councils SET question = NULL WHERE question IS NOT NULL AND deadline < $1"

_DELETE: Final = "SELECT forget_councils($1, $2)"


class PostgresCouncilStore:
    """See `CouncilStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, council: Council) -> Council | None:
        pool, key = self._database.pool(), council.idempotency
        with database_errors():
            while not changed_rows(await pool.execute(_KEEP, *_values(council))):
                row = await pool.fetchrow(_OF_KEY, council.user_id, key and key.key)
                if row is not None:  # else it was let go in between
                    return _council(row)
        return None

    async def find(self, user_id: str, council_id: UUID) -> Council | None:
        with database_errors():
            row = await self._database.pool().fetchrow(_FIND, user_id, council_id)
        return None if row is None else _council(row)

    async def page(
        self, user_id: str, *, limit: int, before: UUID | None, session_id: str | None
    ) -> tuple[Council, ...]:
        with database_errors():
            rows = await self._database.pool().fetch(_PAGE, user_id, before, session_id, limit)
        return tuple(_council(row) for row in rows)

    async def close(self, council_id: UUID, *, free: bool = False) -> None:
        with database_errors():
            await self._database.pool().execute(_CLOSE, council_id, free)

    async def sweep(self, late_before: datetime) -> int:
        with database_errors():
            tag = await self._database.pool().execute(_SWEEP, late_before)
        return changed_rows(tag)

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        with database_errors():
            return int(await self._database.pool().fetchval(_DELETE, born_before, limit))


def _values(council: Council) -> tuple[Any, ...]:
    members = [
        {"model": member.model, "service": member.service, "run_id": member.run_id and str(member.run_id)}
        for member in council.members
    ]
    key, question = council.idempotency, council.question
    return (
        council.council_id,
        council.user_id,
        orjson.dumps(members).decode(),
        council.synthesis_id,
        council.created_at,
        council.deadline,
        council.session_id,
        key and key.key,
        key and key.request_sha256,
        None if question is None else orjson.dumps(question).decode(),
    )


def _council(row: "asyncpg.Record") -> Council:
    question = row["question"]
    return Council(
        council_id=row["council_id"],
        user_id=row["user_id"],
        members=tuple(_member(each) for each in orjson.loads(row["members"])),
        synthesis_id=row["synthesis_id"],
        created_at=row["created_at"],
        deadline=row["deadline"],
        session_id=row["session_id"],
        idempotency=idempotency_of(row),
        question=None if question is None else _question(orjson.loads(question)),
    )


def _member(told: Mapping[str, Any]) -> CouncilMember:
    run_id = told["run_id"]
    return CouncilMember(told["model"], KeyService(told["service"]), None if run_id is None else UUID(run_id))


def _question(told: Mapping[str, Any]) -> Question:
    return Question(told["model"], told["flow"], Role(told["role"]), told["body"])
