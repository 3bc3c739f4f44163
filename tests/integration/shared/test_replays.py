"""What was captured on the bus, or is of another time, is not served."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest

from shared.contracts import topology
from shared.contracts.credits import Balance, GetBalance
from shared.kernel.names import (
    API_EDGE,
    BILLING,
)
from shared.runtime.bus import Bus
from shared.runtime.rpc import Route, RpcServer
from tests.envelopes import event_body
from tests.integration.shared.intruders import intruding
from tests.realm import BusFor, TestRealm

pytestmark = pytest.mark.integration

_PATIENCE_S = 10.0


@dataclass
class Billing:
    """A receiver, and every request as it passed the broker."""

    served: list[str]
    seen: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage]
    edge: Bus


@pytest.fixture
async def billing(realm: TestRealm, bus_for: BusFor) -> Any:
    made = Billing([], asyncio.Queue(), bus_for(API_EDGE))

    async def balance(request: GetBalance) -> Balance:
        made.served.append(request.user_id)
        return Balance(balance_micros=1, held_micros=0, receivable_micros=0)

    receiver = bus_for(BILLING)
    RpcServer(receiver, topology.BILLING_RPC, [Route(GetBalance, balance, (API_EDGE,))])
    await receiver.start()
    await made.edge.start()
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        tap = await (await connection.channel()).declare_queue(exclusive=True)
        await tap.bind("rpc", GetBalance.ROUTING_KEY)
        await tap.consume(made.seen.put, no_ack=True)
        yield made


def _copy(captured: aio_pika.abc.AbstractIncomingMessage, reply_to: str | None) -> aio_pika.Message:
    """Bit by bit, but for the address of the answer, when another is given."""
    return aio_pika.Message(
        captured.body,
        content_type=captured.content_type,
        message_id=captured.message_id,
        type=captured.type,
        user_id=captured.user_id,
        correlation_id=captured.correlation_id,
        reply_to=reply_to or captured.reply_to,
    )


async def test_a_captured_request_is_served_once(realm: TestRealm, billing: Billing) -> None:
    await billing.edge.rpc.call(GetBalance(user_id="once"), Balance, timeout_s=_PATIENCE_S)
    captured = await billing.seen.get()
    assert captured.user_id == f"{realm.name}_{API_EDGE}"
    async with intruding(realm, API_EDGE) as intruder:
        ear = await intruder.listen()
        for send in (intruder.publish, intruder.by_alternate_exchange, intruder.by_dead_letters):
            await send("rpc", GetBalance.ROUTING_KEY, _copy(captured, None))
            await send("rpc", GetBalance.ROUTING_KEY, _copy(captured, ear.name))
            reply = await ear.reply()
            assert (reply.error.code if reply.error else None) == "conflict"
    assert billing.served == ["once"]
    await billing.edge.rpc.call(GetBalance(user_id="again"), Balance, timeout_s=_PATIENCE_S)
    assert billing.served == ["once", "again"]


async def test_a_request_of_another_time_is_refused(realm: TestRealm, billing: Billing) -> None:
    async with intruding(realm, API_EDGE) as intruder:
        ear = await intruder.listen()
        for minutes in (-2, 2):
            request, time = GetBalance(user_id="late"), datetime.now(UTC) + timedelta(minutes=minutes)
            message = intruder.message(request, reply_to=ear.name)
            message.body = event_body(request, source=API_EDGE, time=time)
            await intruder.publish("rpc", request.ROUTING_KEY, message)
            reply = await ear.reply()
            assert (reply.error.code if reply.error else None) == "invalid_request"
    assert billing.served == []


async def test_what_a_replica_finds_after_its_caller_gave_up_is_not_done(
    realm: TestRealm, billing: Billing
) -> None:
    """The broker had handed it over in time: a process that stood still takes no notice of its expiry."""
    async with intruding(realm, API_EDGE) as intruder:
        ear = await intruder.listen()
        for age_s, code in ((1, None), (4, "service_unavailable")):
            request, time = GetBalance(user_id=f"{age_s} s"), datetime.now(UTC) - timedelta(seconds=age_s)
            message = intruder.message(request, reply_to=ear.name)
            message.body = event_body(request, source=API_EDGE, time=time)
            message.expiration = 3
            await intruder.publish("rpc", request.ROUTING_KEY, message)
            reply = await ear.reply()
            assert (reply.error.code if reply.error else None) == code
    assert billing.served == ["1 s"]


async def test_a_request_that_expired_in_the_queue_is_never_served(realm: TestRealm, bus_for: BusFor) -> None:
    edge, receiver = bus_for(API_EDGE), bus_for(BILLING)
    served: list[str] = []
    await edge.start()
    await edge.request(GetBalance(user_id="expired"), correlation_id="1", ttl_s=0.1)
    await asyncio.sleep(0.3)

    async def balance(request: GetBalance) -> Balance:
        served.append(request.user_id)
        return Balance(balance_micros=1, held_micros=0, receivable_micros=0)

    RpcServer(receiver, topology.BILLING_RPC, [Route(GetBalance, balance, (API_EDGE,))])
    await receiver.start()
    await edge.rpc.call(GetBalance(user_id="fresh"), Balance, timeout_s=_PATIENCE_S)
    assert served == ["fresh"]
