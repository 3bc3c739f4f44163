"""Tables of a check's own, beside the ledger's: gone when it ends, at the latest when the next one begins."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from infra.bootstrap.postgres import Connection, connect
from infra.ledger import sql
from infra.ledger.differences import Difference
from infra.ledger.errors import CannotTellError
from infra.ledger.events import Told, ToldTransfer, ToldUsage

_LOCK: Final = 0x1A7C5  # advisory, in the realm's database: one check at a time
_ALONE_S: Final = 15
_SESSION: Final = f"""
SET search_path = {sql.SCHEMA}, billing;
SET work_mem = '64MB';
SET jit = off;
SET enable_nestloop = off;  -- tables that just grew are planned for as if they were small
SET synchronous_commit = off;
SET client_connection_check_interval = '1s';
"""


class Scratch:
    """What the stream says, as it comes in."""

    def __init__(self, database: Connection) -> None:
        self.database = database

    async def take(self, told: Sequence[Told]) -> None:
        """Add what some messages tell. All of it or nothing."""
        async with self.database.transaction():
            await self._copy("staged_usage", (t for t in told if isinstance(t, ToldUsage)), sql.USAGE_COLUMNS)
            transfers = (t for t in told if isinstance(t, ToldTransfer))
            await self._copy("staged_transfers", transfers, sql.TRANSFER_COLUMNS)
            await self._copy(
                "differences", (t for t in told if isinstance(t, Difference)), sql.DIFFERENCE_COLUMNS
            )
            await self.database.execute(sql.TAKE_STAGED)

    async def says(self, question: str) -> bool:
        """Answer one of `sql`'s questions."""
        return bool(await self.database.fetchval(question))

    async def compare(self) -> None:
        """Note every difference there is, by now."""
        for statement in sql.COMPARE:
            await self.database.execute(statement)

    async def differences(self) -> AsyncIterator[Difference]:
        """Yield them in the order of what and of whom."""
        async with self.database.transaction():
            async for row in self.database.cursor(sql.DIFFERENCES):
                yield Difference(*row)

    async def _copy(self, table: str, rows: Iterable[tuple[Any, ...]], columns: tuple[str, ...]) -> None:
        await self.database.copy_records_to_table(
            table, records=rows, columns=columns, schema_name=sql.SCHEMA
        )


@asynccontextmanager
async def scratch_tables(postgres_url: str) -> AsyncIterator[Scratch]:
    """Empty ones, with the administrator's URL. Raises CannotTellError while another check runs."""
    database = await asyncpg.connect(postgres_url, timeout=10)
    try:
        await database.execute(_SESSION)
        await _be_alone(database)
        await database.execute(sql.DROP)
        await database.execute(sql.CREATE)
        yield Scratch(database)
    finally:
        database.terminate()  # whatever it was doing when it was stopped
        with contextlib.suppress(OSError, TimeoutError, CannotTellError, asyncpg.PostgresError):
            await asyncio.shield(asyncio.ensure_future(_drop(postgres_url)))


async def _drop(postgres_url: str) -> None:
    async with connect(postgres_url) as database:
        await _be_alone(database)
        await database.execute(sql.DROP)


async def _be_alone(database: Connection) -> None:
    """Wait for the one before, which may have been killed just now."""
    try:
        await database.execute(f"SET lock_timeout = '{_ALONE_S}s'; SELECT pg_advisory_lock({_LOCK})")
    except asyncpg.LockNotAvailableError:
        raise CannotTellError("another check of this ledger is running") from None
    await database.execute("RESET lock_timeout")
