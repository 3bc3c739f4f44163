"""The edge's own tables: runs and API tokens."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg

from services.api_edge.domain.identity import Caller
from services.api_edge.ports import RunRecord
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.names import Role
from shared.kernel.secret import SecretText
from shared.runtime.batcher import Batcher
from shared.runtime.postgres import create_pool, database_errors

_BATCH_MAX = 128
_PROBE_S = 1.0
_STATEMENT_S = 4.0
"""A frozen Postgres takes twice this: asyncpg waits as long again for the statement's cancellation."""

# One row a run; a batch is whatever asked in the same turn of the event loop.
_ADD = """
INSERT INTO runs (run_id, user_id, flow, model, stream)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[])
"""
# Whose run it is.
_OWNER = "SELECT user_id FROM runs WHERE run_id = $1"
# Whose token it is, unless revoked.
_FIND_TOKEN = "SELECT user_id, role FROM api_tokens WHERE token_sha256 = $1 AND revoked_at IS NULL"  # noqa: S105


class Database:
    """A pool that may still be on its way: until then everything is `database_unavailable`."""

    def __init__(self, pool: "asyncpg.Pool[Any] | None" = None) -> None:
        self._pool = pool

    async def connect(self, url: SecretText) -> None:
        """Open the pool, waiting for Postgres as long as it takes."""
        self._pool = await create_pool(url, command_timeout_s=_STATEMENT_S)

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()

    def pool(self) -> "asyncpg.Pool[Any]":
        if self._pool is None:
            raise DatabaseUnavailableError(service="postgres", retry_after_s=2)
        return self._pool

    async def answers(self) -> bool:
        """Tell whether Postgres answers. Raises DatabaseUnavailableError when it is away."""
        with database_errors():
            async with asyncio.timeout(_PROBE_S):
                return bool(await self.pool().fetchval("SELECT true"))


class PostgresRunStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._adding = Batcher(self._add, size=_BATCH_MAX, linger_ms=0)

    async def add(self, run: RunRecord) -> None:
        await self._adding.submit(run)

    async def owner(self, run_id: UUID) -> str | None:
        with database_errors():
            found: str | None = await self._database.pool().fetchval(_OWNER, run_id)
        return found

    async def _add(self, runs: list[RunRecord]) -> list[None]:
        columns = zip(*((r.run_id, r.user_id, r.flow, r.model, r.stream) for r in runs), strict=True)
        with database_errors():
            await self._database.pool().execute(_ADD, *columns)
        return [None] * len(runs)


class PostgresTokenStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, token_sha256: bytes) -> Caller | None:
        with database_errors():
            row = await self._database.pool().fetchrow(_FIND_TOKEN, token_sha256)
        return None if row is None else Caller(row["user_id"], Role(row["role"]))
