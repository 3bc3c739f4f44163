"""Killed at any moment, billing tells each charge, under one id."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aio_pika.abc import AbstractChannel

from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.adapters.postgres_outbox import PostgresOutbox
from services.billing.ports import Outgoing
from shared.contracts.credits import CreditsCharged
from shared.contracts.message import Envelope
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, INFERENCE
from shared.runtime.bus import Bus
from tests.envelopes import enveloped
from tests.fakes.billing import rated, usage, usage_event
from tests.fakes.billing_events import load_event
from tests.integration.billing.conftest import (
    Edge,
    Start,
    dead,
    report,
    stream,
    until,
)
from tests.parts import Part
from tests.realm import BusFor, PoolFor, TestRealm

pytestmark = pytest.mark.integration


async def _charges(realm: TestRealm, user_id: str) -> list[Envelope]:
    told = await stream(realm, user_id)
    return [event for event in told if event.type == CreditsCharged.event_type()]


async def _waiting(database: "asyncpg.Connection[Any]", user_id: str) -> list[UUID]:
    """Return the ids of a user's events that are not told yet."""
    mine = "SELECT event_id FROM billing.outbox WHERE body::json -> 'data' ->> 'user_id' = $1"
    return [row["event_id"] for row in await database.fetch(mine, user_id)]


async def test_a_charge_that_was_committed_and_not_told_is_told_by_the_next(
    start: Start, pool_for: PoolFor, realm: TestRealm, database: "asyncpg.Connection[Any]"
) -> None:
    user_id = f"user-{new_id()}"
    pool = await pool_for(BILLING)
    await PostgresLedgerStore(pool).record([usage(user_id=user_id)], rated)
    (waiting,) = await _waiting(database, user_id)
    async with start():
        await until(lambda: database.fetchval("SELECT count(*) FROM billing.outbox"), 0)
    assert [event.id for event in await _charges(realm, user_id)] == [str(waiting)]


async def test_a_charge_that_was_told_and_not_forgotten_keeps_its_id(
    start: Start,
    pool_for: PoolFor,
    bus_for: BusFor,
    realm: TestRealm,
    database: "asyncpg.Connection[Any]",
) -> None:
    user_id = f"user-{new_id()}"
    pool, bus = await pool_for(BILLING), bus_for(BILLING)
    await bus.start()
    await PostgresLedgerStore(pool).record([usage(user_id=user_id)], rated)

    async def publish_and_die(events: Sequence[Outgoing]) -> list[UUID]:
        for event in events:
            await bus.publish(load_event(event), event_id=str(event.event_id))
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await PostgresOutbox(pool).relay(publish_and_die, limit=10_000)
    async with start():
        await until(lambda: database.fetchval("SELECT count(*) FROM billing.outbox"), 0)
    charges = await _charges(realm, user_id)
    assert len(charges) == 2
    assert len({event.id for event in charges}) == 1


async def test_killed_in_the_middle_of_it_nothing_is_lost_or_charged_twice(
    process: Part, realm: TestRealm, edge: Edge, worker: Bus, database: "asyncpg.Connection[Any]"
) -> None:
    events = [usage_event(user_id=edge.user_id) for _ in range(600)]
    for _ in range(3):
        await process.start()
        await process.until_ready()
        await report(worker, *events[:200])
        events = [*events[200:], *events[:200]]
        await process.kill()
    await process.start()
    await process.until_ready()
    await edge.until((0, 0, 600 * 450))
    await until(lambda: database.fetchval("SELECT count(*) FROM billing.outbox"), 0)
    assert await process.stop() == 0
    by_id = {event.id: event.data["usage_id"] for event in await _charges(realm, edge.user_id)}
    assert len(by_id) == 600
    assert set(by_id.values()) == {str(event.usage_id) for event in events}
    assert await database.fetch("SELECT * FROM billing.ledger_faults") == []


async def test_a_malformed_event_is_dead_lettered_and_nothing_of_it_is_logged(
    process: Part, realm: TestRealm, worker: Bus, edge: Edge, broker: AbstractChannel
) -> None:
    assert await dead(broker) == 0
    envelope = enveloped(usage_event(), source=INFERENCE).model_dump(mode="json")
    envelope["data"]["tokens"] = {"prompt": "sk-canary-1"}
    envelope["data"]["sk-canary-2"] = 1
    poisoned = usage_event(user_id=edge.user_id, model="openai/sk-canary-3\x00")
    huge = usage_event(user_id=edge.user_id, usage_raw={"sk-canary-4": 1})
    huge = huge.model_copy(update={"tokens": huge.tokens.model_copy(update={"prompt": 2**62})})
    good = usage_event(user_id=edge.user_id)
    await process.start()
    await process.until_ready()
    await worker.broker.publish(  # what no contract can say
        json.dumps(envelope),
        exchange="usage",
        routing_key="usage.recorded.v1",
        user_id=f"{realm.name}_inference",
    )
    await report(worker, poisoned, huge, good)
    await edge.until((0, 0, 450))
    await until(lambda: dead(broker), 3)
    await process.stop()
    log = process.log_of_this_life()
    assert log.count('"dead-lettered"') == 3
    assert "canary" not in log
