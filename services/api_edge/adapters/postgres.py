"""The edge's database, and its API tokens."""

import asyncio
from typing import Any

import asyncpg

from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.domain.identity import Caller
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.names import Role
from shared.kernel.secret import SecretText
from shared.runtime.postgres import create_pool, database_errors

_PROBE_S = 1.0
_STATEMENT_S = 4.0
"""A frozen Postgres takes twice this: asyncpg waits as long again for the statement's cancellation."""

# Not while it is a standby, or was told to be read-only.
_IS_WRITABLE = "SELECT current_setting('transaction_read_only') = 'off'"
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
        """Tell whether Postgres lets us write. Raises DatabaseUnavailableError when it is away."""
        with database_errors():
            async with asyncio.timeout(_PROBE_S):
                return bool(await self.pool().fetchval(_IS_WRITABLE))


def page_clause(id_column: str) -> str:
    """Return what picks rows, newest first: $1 whose, $2 before which id, $3 which session's, $4 how many."""
    return f"""
    user_id = $1 AND ($2::uuid IS NULL OR {id_column} < $2) AND ($3::text IS NULL OR session_id = $3)
    ORDER BY {id_column} DESC LIMIT $4
    """


def idempotency_of(row: "asyncpg.Record") -> Idempotency | None:
    if row["idempotency_key"] is None:
        return None
    return Idempotency(row["idempotency_key"], row["request_sha256"])


class PostgresTokenStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, token_sha256: bytes) -> Caller | None:
        with database_errors():
            row = await self._database.pool().fetchrow(_FIND_TOKEN, token_sha256)
        return None if row is None else Caller(row["user_id"], Role(row["role"]))
