"""Runs and the ledger, brought up to what was told; billing's rules rate what no charge was told of."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from infra.bootstrap.postgres import Connection
from infra.rating.prices import PriceFile, rates
from infra.recovery import sql
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.ports import Entry, Usage
from services.billing.use_cases.record_usage import record_usage
from shared.contracts.usage import UsageRecorded

_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Added:
    """How many rows: attempts that have ended since, usage events, transfers."""

    attempts: int
    usage: int
    transfers: int


async def add_what_was_told(database: Connection) -> Added:
    """In the caller's transaction, after `told.take`.

    Raises asyncpg.CheckViolationError when an account had less than what was told to be taken from it.
    """
    await database.execute(sql.NOTE_RUNS)
    attempts = count(await database.execute(sql.END_ATTEMPTS))
    await database.execute(sql.OPEN_ACCOUNTS)
    usage = count(await database.execute(sql.RECORD_USAGE))
    await database.execute(sql.END_HOLDS)
    return Added(attempts, usage, count(await database.execute(sql.POST_TRANSFERS)))


async def rate_the_rest(database: Connection, postgres_url: str) -> tuple[int, list[UUID]]:
    """Bill what has ended and billing has not: as it would itself, whose outbox then tells of it.

    Returns how many, and the usage ids of those that cannot be kept.
    """
    waiting = [row["usage_id"] for row in await database.fetch(sql.UNRECORDED)]
    used = await rates(database, PriceFile(), None)
    billed, refused = 0, list[UUID]()
    async with asyncpg.create_pool(
        postgres_url, min_size=1, max_size=1, server_settings={"search_path": "billing"}
    ) as pool:
        ledger = PostgresLedgerStore(pool)
        async for usages in _read(database, waiting):
            verdicts = await record_usage(usages, ledger=ledger, prices=used.book, tariff=used.tariff)
            billed += sum(isinstance(verdict, Entry) for verdict in verdicts)
            refused += [
                usage.event.usage_id
                for usage, verdict in zip(usages, verdicts, strict=True)
                if isinstance(verdict, Exception)
            ]
    return billed, refused


def count(tag: str) -> int:
    """Return how many rows a statement has changed: the last word of Postgres' command tag."""
    return int(tag.rpartition(" ")[2])


async def _read(database: Connection, usage_ids: Sequence[UUID]) -> AsyncIterator[list[Usage]]:
    for start in range(0, len(usage_ids), _AT_ONCE):
        rows = await database.fetch(sql.USAGE, usage_ids[start : start + _AT_ONCE])
        yield [_usage(row["usage"]) for row in rows]


def _usage(text: str) -> Usage:
    data = orjson.loads(text)
    return Usage(UsageRecorded.model_validate(data), data)
