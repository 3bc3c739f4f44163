"""Connections that end without a word to the broker, or never get one from it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import aio_pika
import pytest

from infra.bootstrap import Servers
from shared.contracts import topology
from shared.contracts.credits import Balance, GetBalance
from shared.contracts.key_events import ConsentChanged
from shared.contracts.runs import CancelRun
from shared.contracts.topology import BILLING_RPC, BILLING_USAGE
from shared.kernel.errors import BusUnavailableError, PlatformError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT
from shared.runtime.bus import Bus
from shared.runtime.delivery import Delivery
from shared.runtime.rpc import Route, RpcServer
from tests.integration.shared.gated import gated
from tests.realm import BusFor, TestRealm, temporary_realm
from tests.stream_filler import Told, fill
from tests.waiting import until

pytestmark = pytest.mark.integration

SOON_S: Final = 10.0
CONSENT: Final = ConsentChanged(
    user_id="u", consent_id="c", allow_platform_fallback=True, allow_gateway_fallback=False
)


async def answer(request: GetBalance) -> Balance:
    return Balance(balance_micros=len(request.user_id), held_micros=0, receivable_micros=0)


async def is_answered(edge: Bus) -> bool:
    try:
        return (await edge.rpc.call(GetBalance(user_id="u"), Balance, timeout_s=1)).balance_micros == 1
    except PlatformError:
        return False


@pytest.fixture
async def billing(bus_for: BusFor) -> Bus:
    billing = bus_for(BILLING)
    RpcServer(billing, BILLING_RPC, [Route(GetBalance, answer, (API_EDGE,))])
    await billing.start()
    return billing


@pytest.mark.usefixtures("billing")
async def test_who_lost_its_connection_unnoticed_is_soon_answered_again(realm: TestRealm) -> None:
    async with gated(realm, API_EDGE) as (gate, edge):
        await edge.start()
        before = edge.reply_to
        await gate.lose()
        await until(lambda: edge.reply_to != before)
        await until(lambda: is_answered(edge), SOON_S)


@pytest.mark.usefixtures("billing")
async def test_who_lost_its_queue_is_soon_answered_again(bus_for: BusFor) -> None:
    edge = bus_for(API_EDGE)
    await edge.start()
    before = edge.reply_to
    await _delete(edge, before)
    await until(lambda: edge.reply_to != before, SOON_S)
    await until(lambda: is_answered(edge), SOON_S)


async def test_who_lost_its_queue_is_soon_told_again(bus_for: BusFor) -> None:
    key_vault, worker, told = bus_for(KEY_VAULT), bus_for(INFERENCE), asyncio.Event()

    async def hear(_: Delivery) -> None:
        told.set()

    worker.on_broadcast(topology.KEYS, hear)
    await asyncio.gather(key_vault.start(), worker.start())
    before = worker.reply_to
    await _delete(worker, worker._own.name_of(topology.KEYS))
    await until(lambda: worker.reply_to != before, SOON_S)
    await until(lambda: _hears(worker), SOON_S)
    await key_vault.publish(CONSENT)
    await asyncio.wait_for(told.wait(), SOON_S)


async def _hears(bus: Bus) -> bool:
    try:
        return await bus.hears(topology.KEYS)
    except BusUnavailableError:
        return False


async def _delete(bus: Bus, queue: str) -> None:
    """Only who made an exclusive queue may do so, or an administrator at the broker itself."""
    channel = await (await bus.broker.connect()).channel()
    await channel.queue_delete(queue)


async def test_who_lost_its_connection_unnoticed_is_soon_told_again(
    realm: TestRealm, bus_for: BusFor
) -> None:
    key_vault, told = bus_for(KEY_VAULT), asyncio.Event()

    async def on_key(_: Delivery) -> None:
        told.set()

    async def is_told() -> bool:
        await key_vault.publish(CONSENT)
        await asyncio.sleep(0.1)
        return told.is_set()

    await key_vault.start()
    async with gated(realm, INFERENCE) as (gate, worker):
        worker.on_broadcast(topology.KEYS, on_key)
        await worker.start()
        before = worker.reply_to
        await gate.lose()
        await until(lambda: worker.reply_to != before)
        await until(is_told, SOON_S)


async def test_what_the_lost_connection_has_not_got_comes_on_the_new_one_once(realm: TestRealm) -> None:
    taken: list[bytes] = []

    async def take(deliveries: Sequence[Delivery]) -> list[Exception | None]:
        taken.extend(delivery.body for delivery in deliveries)
        return [None] * len(deliveries)

    async with gated(realm, BILLING) as (gate, billing):
        billing.subscribe_batches(BILLING_USAGE, take, size=10)
        await billing.start()
        await gate.lose()
        await until(lambda: not billing.connected)
        await until(lambda: billing.connected, SOON_S)
        bodies = [f"message {number}".encode() for number in range(100)]
        await fill(realm, INFERENCE, [Told("usage.recorded.v1", body) for body in bodies])
        # The broker sends three batches to the connection that is none; they come back when it has noticed.
        await until(lambda: len(taken) >= len(bodies) - 3 * 10, SOON_S)
        assert len(taken) == len(set(taken))
        await gate.close()
        await gate.open()
        await until(lambda: set(taken) == set(bodies), SOON_S)  # and nothing is left for another test


async def test_who_cannot_have_its_own_queues_tries_until_it_can(servers: Servers, tmp_path: Path) -> None:
    told = asyncio.Event()

    async def on_cancel(_: Delivery) -> None:
        told.set()

    async def is_told() -> bool:
        with suppress(BusUnavailableError):  # nobody would hear it
            await edge.publish(CancelRun(run_id=new_id()))
        await asyncio.sleep(0.1)
        return told.is_set()

    async with (
        temporary_realm(servers, tmp_path) as realm,
        await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as admin,
        gated(realm, INFERENCE) as (gate, worker),
    ):
        channel, edge = await admin.channel(), realm.bus(API_EDGE)
        worker.on_broadcast(topology.CONTROL, on_cancel)
        await worker.start()
        await channel.exchange_delete(topology.CONTROL)
        await gate.close()
        await gate.open()
        await asyncio.sleep(3)  # longer than it takes to connect anew
        await channel.declare_exchange(topology.CONTROL, "fanout", durable=True)
        await edge.start()
        await until(is_told, SOON_S)
        await edge.stop()


@pytest.mark.usefixtures("billing")
async def test_a_broker_that_takes_a_connection_and_says_nothing_is_tried_again(realm: TestRealm) -> None:
    async with gated(realm, API_EDGE) as (gate, edge):
        await edge.start()
        gate.swallowing = 1
        await gate.close()
        await gate.open()
        await until(lambda: gate.swallowing == 0)
        await until(lambda: is_answered(edge), 2 * SOON_S)
