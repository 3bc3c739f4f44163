"""The tables at one moment: how far `usage` and `transfers` go, and every balance then."""

import asyncio
from typing import Final

import asyncpg

from infra.bootstrap.postgres import Connection, connect
from infra.ledger import sql
from infra.ledger.errors import CannotTellError

_PATIENCE_MS: Final = (200, 200, 500, 500, 1_000, 3_000)
"""Who waits for the lock has others wait behind; the last ones outwait a vacuum, which then gives way."""
_PAUSE_S: Final = 0.3


async def take_snapshot(postgres_url: str, database: Connection) -> None:
    """Fill `bounds` and `accounts_then`.

    For the instant in which the snapshot is taken nobody writes: so no row up to the bounds can come later.
    Raises CannotTellError when somebody writes all the time.
    """
    async with connect(postgres_url) as locker:
        for patience_ms in _PATIENCE_MS:
            try:
                return await _take(locker, database, patience_ms)
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(_PAUSE_S)
    raise CannotTellError("billing's tables are locked by others")


async def _take(locker: Connection, database: Connection, patience_ms: int) -> None:
    await locker.execute(f"BEGIN; SET LOCAL lock_timeout = {patience_ms}")
    try:
        await locker.execute(sql.LOCK_LEDGER)
        async with database.transaction(isolation="repeatable_read"):
            await database.execute(sql.TAKE_BOUNDS)
            await locker.execute("COMMIT")
            await database.execute(sql.TAKE_ACCOUNTS)
    finally:
        if locker.is_in_transaction():
            await locker.execute("ROLLBACK")
