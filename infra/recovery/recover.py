"""The whole recovery: keys and consents, runs and ledger."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from infra.bootstrap.postgres import connect
from infra.event_stream import Entry, EventStream, Tell
from infra.recovery.beginning import begin, check_alone
from infra.recovery.keys import Changed, apply, read_news
from infra.recovery.ledger import Posted, post
from infra.recovery.queue import drop_runs
from infra.recovery.rating import Rated, rate_the_rest
from infra.recovery.runs import end_runs
from infra.recovery.told import take
from infra.stream_reading import Meter, Progress, entries
from shared.contracts.topology import KEYS_AUDIT, USAGE_EVENTS


@dataclass(frozen=True)
class Recovered:
    """What was missing. `since`: from when on the streams were read.

    `messages`: of usage and money; `attempts` that have ended; `dropped` runs, which waited for a worker.
    """

    since: datetime
    messages: int
    attempts: int
    posted: Posted
    rated: Rated
    changed: Changed
    dropped: int


async def recover(
    postgres_url: str,
    amqp_url: str,
    *,
    realm: str,
    start: datetime | None = None,
    tell: Tell = lambda _: None,
) -> Recovered:
    """Bring a database up to what the streams tell, with administrators' URLs; nothing is added twice.

    It begins an hour before what the database knew last, or at `start`, if earlier. `tell` hears now and then
    how far it is. Raises RecoveryError for another realm's database, and while a service is connected;
    OSError, asyncpg.PostgresError, DatabaseUnavailableError when a server is away.
    """
    usage = EventStream(amqp_url, tell, name=USAGE_EVENTS)
    audit = EventStream(amqp_url, tell, name=KEYS_AUDIT)
    async with connect(postgres_url) as database:
        await check_alone(database, realm)
        since = await begin(database, start)
        async with aclosing(_read(audit, since, tell)) as batches:
            news = await read_news(batches, realm)
        async with aclosing(_read(usage, since, tell)) as batches:
            messages = await take(database, batches, realm)
        async with database.transaction():
            changed = await apply(database, news)
            attempts = await end_runs(database)
            posted = await post(database, since)
            await check_alone(database, realm)
        dropped = await drop_runs(amqp_url)
        rated = await rate_the_rest(
            database, postgres_url, without=[each.user_id for each in posted.left_out]
        )
    return Recovered(since, messages, attempts, posted, rated, changed, dropped)


async def _read(stream: EventStream, since: datetime, tell: Tell) -> AsyncGenerator[list[Entry], None]:
    """Yield what is there by now, and tell how far it is."""
    progress = Progress(await stream.find(since), await stream.end())
    meter = Meter(progress, tell)
    async with aclosing(entries(stream, since, progress, tell)) as batches:
        async for batch in batches:
            yield batch
            meter.show(progress.at - progress.first)
