"""A ledger in a real Postgres whose transactions can be torn: the server kills them before their commit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg

from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.domain.settlement import is_platforms
from shared.kernel.names import BILLING, KeySource
from shared.runtime.postgres import Pool
from tests.ledger_law import Billed, Moved, is_free
from tests.ledger_machine import try_to_break
from tests.realm import TestRealm

_MOVED = """
SELECT cause, amount_micros, debit.kind AS debit, coalesce(debit.user_id, '') AS debited,
       credit.kind AS credit, coalesce(credit.user_id, '') AS credited
FROM transfers
JOIN accounts AS debit ON debit.id = debit_account JOIN accounts AS credit ON credit.id = credit_account
WHERE transfers.user_id = ANY ($1)
"""
_BILLED = """
SELECT key_source, event ->> 'policy' AS policy, outcome, cost_micros, charged_micros
FROM usage WHERE user_id = ANY ($1)
"""


class TornConnection:
    """A pool's connection. A transaction that is to be torn loses it."""

    def __init__(self, connection: Any, pool: "TornPool") -> None:
        self._connection = connection
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            yield
            await self._pool.tear(self._connection.get_server_pid())


class TornPool:
    """Billing's pool. With `is_torn`, the next transaction ends with its connection; `admin` kills."""

    def __init__(self, pool: Pool, admin: Pool) -> None:
        self.is_torn = False
        self._pool = pool
        self._admin = admin

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[TornConnection]:
        async with self._pool.acquire() as connection:
            yield TornConnection(connection, self)

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        if not self.is_torn:
            return await self._pool.fetch(query, *values)
        async with self.acquire() as connection, connection.transaction():
            return cast("list[asyncpg.Record]", await connection.fetch(query, *values))

    async def tear(self, pid: int) -> None:
        if self.is_torn:
            self.is_torn = False
            await self._admin.execute("SELECT pg_terminate_backend($1, 5000)", pid)


class PostgresWorld:
    """See `World`."""

    def __init__(self, pool: Pool, admin: Pool) -> None:
        self._pool = pool
        self._torn = TornPool(pool, admin)
        self.ledger = PostgresLedgerStore(cast("Pool", self._torn))
        self.credits = PostgresCreditStore(cast("Pool", self._torn))

    def tear(self) -> None:
        self._torn.is_torn = True

    async def moved(self, users: Sequence[str]) -> list[Moved]:
        return [
            Moved(
                row["cause"],
                (row["debit"], row["debited"]),
                (row["credit"], row["credited"]),
                row["amount_micros"],
            )
            for row in await self._pool.fetch(_MOVED, users)
        ]

    async def billed(self, users: Sequence[str]) -> list[Billed]:
        return [_billed(row) for row in await self._pool.fetch(_BILLED, users)]

    async def faults(self) -> Sequence[object]:
        return await self._pool.fetch("SELECT * FROM ledger_faults")


def _billed(row: asyncpg.Record) -> Billed:
    source = row["key_source"]
    return Billed(
        is_platforms=is_platforms(None if source is None else KeySource(source)),
        is_free=is_free(row["policy"], row["outcome"]),
        cost_micros=row["cost_micros"],
        charged_micros=row["charged_micros"],
    )


@asynccontextmanager
async def pools(service_url: str, admin_url: str) -> AsyncIterator[tuple[Pool, Pool]]:
    """Billing's and the administrator's."""
    async with (
        asyncpg.create_pool(service_url, min_size=1, max_size=2) as pool,
        asyncpg.create_pool(admin_url, min_size=1, max_size=1) as admin,
    ):
        yield pool, admin


def try_to_break_postgres(realm: TestRealm, *, examples: int, steps: int) -> None:
    """As `try_to_break`, in a realm's database."""
    urls = (env["LATCHKEY_POSTGRES_URL"] for env in (realm.env(BILLING), realm.admin))
    with asyncio.Runner() as loop:
        opened = pools(*urls)
        pool, admin = loop.run(opened.__aenter__())
        try:
            try_to_break(
                lambda: PostgresWorld(pool, admin),
                loop.run,  # type: ignore[arg-type]
                examples=examples,
                steps=steps,
            )
        finally:
            loop.run(opened.__aexit__(None, None, None))
