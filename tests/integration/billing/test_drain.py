"""A full queue, drained by a real process: each event is charged exactly once, whatever happens meanwhile."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import pytest
from aio_pika.abc import AbstractChannel

from shared.contracts.topology import BILLING_USAGE, dead_letters
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE
from tests.fakes.billing import usage_event
from tests.integration.billing.conftest import until
from tests.parts import Part
from tests.realm import TestRealm
from tests.stream_filler import fill, told

pytestmark = pytest.mark.integration

_EVENTS = 2_000
_USERS = 40
_COST = 450
"""Of `usage_event`, by the listed price."""


def _events(count: int, user_of: Callable[[int], str]) -> list[UsageRecorded]:
    return [usage_event(user_id=user_of(number)) for number in range(count)]


async def _charged(database: "asyncpg.Connection[Any]", prefix: str) -> dict[str, int]:
    """What each user owes: they had nothing."""
    found = await database.fetch(
        "SELECT user_id, -posted_micros AS owed FROM billing.accounts"
        " WHERE kind = 'receivable' AND starts_with(user_id, $1)",
        prefix,
    )
    return {row["user_id"]: row["owed"] for row in found}


async def _waiting(broker: AbstractChannel, queue: str) -> int | None:
    return (await broker.declare_queue(queue, passive=True)).declaration_result.message_count


async def _put(realm: TestRealm, events: Sequence[UsageRecorded]) -> None:
    await fill(realm, INFERENCE, [told(event, event_id=str(event.usage_id)) for event in events])


async def test_two_thousand_events_some_twice_and_a_poisoned_one_are_charged_once_through_two_kills(
    process: Part, realm: TestRealm, database: "asyncpg.Connection[Any]", broker: AbstractChannel
) -> None:
    prefix = f"drained-{new_id()}-"
    events = _events(_EVENTS, lambda number: f"{prefix}{number % _USERS}")
    poisoned = usage_event(user_id=f"{prefix}0", model="openai/\x00")
    queued = [*events, poisoned, *random.Random(4).sample(events, 300)]
    random.Random(5).shuffle(queued)
    letters = await _waiting(broker, dead_letters(BILLING_USAGE)) or 0
    await _put(realm, queued)
    for _ in range(2):
        await _drained_until_killed(process, database, prefix)
    await process.start()
    await process.until_ready()
    expected = {f"{prefix}{user}": _EVENTS // _USERS * _COST for user in range(_USERS)}
    await until(lambda: _charged(database, prefix), expected)
    await until(lambda: database.fetchval("SELECT count(*) FROM billing.outbox"), 0)
    await until(lambda: _waiting(broker, BILLING_USAGE), 0)
    await until(lambda: _waiting(broker, dead_letters(BILLING_USAGE)), letters + 1)
    assert await process.stop() == 0
    await (await broker.get_queue(dead_letters(BILLING_USAGE), ensure=False)).purge()
    assert await _charged(database, prefix) == expected
    assert await database.fetch("SELECT * FROM billing.ledger_faults") == []


async def _drained_until_killed(process: Part, database: "asyncpg.Connection[Any]", prefix: str) -> None:
    """Kill it (-9) at its first commit: it acknowledges that batch just now, and has the next one in hand."""
    before = await database.fetchval("SELECT count(*) FROM billing.usage")
    await process.start()
    await process.until_ready()
    async with asyncio.timeout(20):
        while await database.fetchval("SELECT count(*) FROM billing.usage") == before:
            await asyncio.sleep(0)
    await process.kill()
    assert sum((await _charged(database, prefix)).values()) < _EVENTS * _COST, "killed too late to tell"
