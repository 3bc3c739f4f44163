"""What must be true when all has settled, whatever happened before."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import asyncpg
import httpx2
from aio_pika.exceptions import AMQPError

from infra.event_stream import EventStream
from infra.ledger.differences import Difference
from infra.ledger.rebuild import Rebuilt, rebuild
from infra.ledger.verify import verify
from shared.contracts.topology import queues
from tests.loopback import http_client
from tests.realm import TestRealm

_POLL_S: Final = 0.2
_DEAD: Final = ".dlq"
_WAITING: Final = {
    "events in billing's outbox": "SELECT count(*) FROM billing.outbox",
    "attempts that ended and were not published": """
        SELECT count(*) FROM inference.attempts WHERE outcome IS NOT NULL AND published_at IS NULL
    """,
    "ends of kept runs that were not told": "SELECT count(*) FROM inference.run_ends",
    "kept runs without an end": "SELECT count(*) FROM edge.runs WHERE kept AND outcome IS NULL",
    "holds open past their expiry": """
        SELECT count(*) FROM billing.holds WHERE state = 'held' AND expires_at < now()
    """,
}

_NONE: Final[Mapping[str, int]] = {}


async def quiet_check(
    realm: TestRealm, *, dead_letters: Mapping[str, int] = _NONE, patience_s: float = 60
) -> Rebuilt:
    """Wait until nothing is under way any more, then have everything checked; return what was compared.

    Queues and outboxes are empty, no hold is open past its expiry, each queue's dead letters are as many as
    `dead_letters` says (by the queue's own name; none for those it does not name), `ledger verify` and
    `ledger rebuild --check` find nothing. Raises AssertionError with all that is not so.
    """
    expected = {
        queue: dead_letters.get(queue.removesuffix(_DEAD), 0) for queue in _queues() if _is_dead(queue)
    }
    await _until(lambda: _restless(realm, expected), patience_s)
    found: list[Difference] = []
    rebuilt = await rebuild(
        realm.admin["LATCHKEY_POSTGRES_URL"],
        EventStream(realm.admin["LATCHKEY_ANALYST_AMQP_URL"]),
        realm=realm.name,
        wait_s=10,
        report=found.append,
    )
    faults = (await verify(realm.admin["LATCHKEY_POSTGRES_URL"])).faults
    assert (faults, found) == ((), []), "\n".join(map(str, [*faults, *found]))
    return rebuilt


async def _restless(realm: TestRealm, dead_letters: Mapping[str, int]) -> list[str]:
    """Return what is not yet as it should be; a server that is still coming back is that, too."""
    try:
        return await _look(realm, dead_letters)
    except (OSError, AMQPError, httpx2.HTTPError, asyncpg.PostgresError) as error:
        return [repr(error)]


async def _look(realm: TestRealm, dead_letters: Mapping[str, int]) -> list[str]:
    counts = await _counts(realm)
    wrong = [
        f"{counts[queue]} messages in {queue}, not {dead_letters.get(queue, 0)}"
        for queue in counts
        if counts[queue] != dead_letters.get(queue, 0)
    ]
    database = await asyncpg.connect(realm.admin["LATCHKEY_POSTGRES_URL"])
    try:
        waiting = {what: await database.fetchval(query) for what, query in _WAITING.items()}
    finally:
        await database.close()
    return wrong + [f"{count} {what}" for what, count in waiting.items() if count]


async def _counts(realm: TestRealm) -> dict[str, int]:
    """Return how many messages are in each work queue: ready by the queue itself, taken by the statistics."""
    taken = await _taken(realm)
    return {name: ready + taken.get(name, 0) for name, ready in (await _ready(realm)).items()}


async def _ready(realm: TestRealm) -> dict[str, int]:
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        channel = await connection.channel()
        counts = {}
        for name in _queues():
            queue = await channel.declare_queue(name, passive=True)
            counts[name] = queue.declaration_result.message_count or 0
    return counts


async def dead_letters(realm: TestRealm) -> dict[str, int]:
    """Return how many messages each queue of dead letters has."""
    return {name: count for name, count in (await _ready(realm)).items() if _is_dead(name)}


async def consumers_of(realm: TestRealm) -> dict[str, int]:
    """Return how many consumers each queue of the realm has, those of single instances included."""
    async with _management(realm) as client:
        found: list[dict[str, Any]] = (await client.get("")).raise_for_status().json()
    return {queue["name"]: queue.get("consumers", 0) for queue in found}


async def _taken(realm: TestRealm) -> dict[str, int]:
    async with _management(realm) as client:
        found: list[dict[str, Any]] = (await client.get("")).raise_for_status().json()
    return {queue["name"]: queue.get("messages_unacknowledged", 0) for queue in found}


def _management(realm: TestRealm) -> httpx2.AsyncClient:
    """A client of the realm's queues at RabbitMQ's management."""
    parts = urlsplit(realm.admin["RABBITMQ_MANAGEMENT_URL"])
    login = (parts.username or "", parts.password or "")
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], f"/api/queues/{realm.name}", "", ""))
    return http_client(auth=login, base_url=address)


def _queues() -> list[str]:
    return [name for name, arguments in queues().items() if arguments["x-queue-type"] != "stream"]


def _is_dead(queue: str) -> bool:
    return queue.endswith(_DEAD)


async def _until(look: Callable[[], Awaitable[list[str]]], patience_s: float) -> None:
    """Look again and again, until there is nothing to see; raise AssertionError with what was seen last."""
    seen = ["nothing was seen"]
    try:
        async with asyncio.timeout(patience_s):
            while seen := await look():
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise AssertionError(f"not quiet after {patience_s:.0f} s: {'; '.join(seen)}") from None
