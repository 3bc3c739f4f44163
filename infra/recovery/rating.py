"""What has ended and no charge was told of, billed by billing's own code, whose outbox then tells of it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from infra.bootstrap.postgres import Connection
from infra.rating.prices import PriceFile, Rates, rates
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.domain.hold import Hold
from services.billing.ports import Entry, Usage
from services.billing.use_cases.record_usage import bill, rate_usage, record_all
from shared.contracts.usage import UsageRecorded

_AT_ONCE: Final = 500
_WAITING: Final = """
SELECT usage_id FROM inference.attempts
WHERE outcome IS NOT NULL AND NOT EXISTS (
    SELECT FROM billing.usage WHERE usage.run_id = attempts.run_id AND usage.attempt = attempts.attempt
) AND user_id <> ALL ($1::text[])
ORDER BY ended_at
"""
_USAGE: Final = "SELECT usage FROM inference.attempts WHERE usage_id = ANY ($1::uuid[])"


@dataclass(frozen=True)
class Rated:
    """How many; `refused`: the usage ids of those that cannot be kept."""

    usage: int
    refused: tuple[UUID, ...]


async def rate_the_rest(database: Connection, postgres_url: str, *, without: Sequence[str]) -> Rated:
    """Leave these users out. Raises DatabaseUnavailableError; what was rated until then is."""
    waiting = [row["usage_id"] for row in await database.fetch(_WAITING, without)]
    rate = partial(_rate, await rates(database, PriceFile(), None))
    rated, refused = 0, list[UUID]()
    async with asyncpg.create_pool(
        postgres_url, min_size=1, max_size=1, server_settings={"search_path": "billing"}
    ) as pool:
        async for usages in _read(database, waiting):
            verdicts = await record_all(usages, PostgresLedgerStore(pool), rate)
            rated += sum(isinstance(verdict, Entry) for verdict in verdicts)
            refused += [
                usage.event.usage_id
                for usage, verdict in zip(usages, verdicts, strict=True)
                if isinstance(verdict, Exception)
            ]
    return Rated(rated, tuple(refused))


def _rate(used: Rates, usage: Usage, hold: Hold | None) -> Entry:
    """What the worker knew of the price goes before what a restored database does."""
    event = usage.event
    if event.cost_micros is None or event.price_version is None:
        return rate_usage(usage, hold, prices=used.book, tariff=used.tariff)
    return bill(usage, hold, event.cost_micros, event.price_version)


async def _read(database: Connection, usage_ids: Sequence[UUID]) -> AsyncIterator[list[Usage]]:
    for start in range(0, len(usage_ids), _AT_ONCE):
        rows = await database.fetch(_USAGE, usage_ids[start : start + _AT_ONCE])
        yield [_usage(row["usage"]) for row in rows]


def _usage(text: str) -> Usage:
    data = orjson.loads(text)
    return Usage(UsageRecorded.model_validate(data), data)
