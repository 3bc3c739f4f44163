"""The whole recovery: attempts, ledger, keys and consents."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from infra.analytics.progress import Meter
from infra.analytics.window import Progress
from infra.bootstrap.postgres import Connection, connect
from infra.recovery import books, keys, sql, told
from infra.usage_stream import FIRST, Entry, Start, Tell, UsageStream
from shared.kernel.names import SERVICES


class RecoveryError(Exception):
    """Nothing was changed; it says why."""


@dataclass(frozen=True)
class Recovered:
    """What was missing. `since`: from when on the streams were read; None: from their start.

    `rated`: attempts that had ended, and that no charge was told of; those of `refused` cannot be kept, as
    billing sees it.
    """

    since: datetime | None
    messages: int
    added: books.Added
    rated: int
    refused: tuple[UUID, ...]
    changed: keys.Changed


async def recover(
    postgres_url: str,
    usage: UsageStream,
    audit: UsageStream,
    *,
    realm: str,
    start: Start | None = None,
    tell: Tell = lambda _: None,
) -> Recovered:
    """Bring the database of the administrator's URL up to what the streams tell; nothing is added twice.

    `start`: `first`, or a time; else an hour before what the database knew last. `tell` hears now and then
    how far it is. Raises RecoveryError while a service is connected, and when what is told does not fit;
    OSError, asyncpg.PostgresError when either is away.
    """
    async with connect(postgres_url) as database:
        await _check_alone(database, realm)
        since = start or await database.fetchval(sql.SINCE) or FIRST
        async with aclosing(_since(since, usage, tell)) as batches:
            messages = await told.take(database, batches, realm)
        async with aclosing(_since(since, audit, tell)) as batches:
            news = await keys.read_news(batches, realm)
        added, changed = await _bring_up(database, news)
        rated, refused = await books.rate_the_rest(database, postgres_url)
    known_from = since if isinstance(since, datetime) else None
    return Recovered(known_from, messages, added, rated, tuple(refused), changed)


async def _since(start: Start, stream: UsageStream, tell: Tell) -> AsyncGenerator[list[Entry], None]:
    """Yield what is there by now, and tell how far it is."""
    first, end = await stream.find(start), await stream.end()
    progress = Progress(first, end, at=first)
    meter = Meter(progress, tell)
    async with aclosing(stream.read(first, end)) as batches:
        async for batch in batches:
            yield batch
            progress.at = batch[-1].offset + 1
            meter.show(progress.at - first)


async def _check_alone(database: Connection, realm: str) -> None:
    """A worker that runs would end as interrupted what the stream says was completed."""
    logins = [f"{realm}_{service}" for service in SERVICES]
    connected = [row["usename"] for row in await database.fetch(sql.CONNECTED, logins)]
    if connected:
        raise RecoveryError(f"stop the services first; connected to the database: {', '.join(connected)}")


async def _bring_up(database: Connection, news: keys.News) -> tuple[books.Added, keys.Changed]:
    try:
        async with database.transaction():
            return await books.add_what_was_told(database), await keys.apply(database, news)
    except asyncpg.CheckViolationError as error:
        raise RecoveryError(
            f"the tables do not take what the stream tells ({error}); was it read from early enough? (--from)"
        ) from None
