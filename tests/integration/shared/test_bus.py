"""The bus on a real broker: what is confirmed is there, what fails comes back or is dead-lettered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from shared.contracts import topology
from shared.contracts.billing import AuthorizeRun, RunAuthorized
from shared.contracts.credits import Balance, CreditsGranted, GetBalance
from shared.contracts.key_events import ConsentChanged
from shared.contracts.message import MESSAGE_BYTES_MAX, Message
from shared.contracts.runs import AttachRun, CancelRun, RunChunk, RunStarted
from shared.kernel.errors import BusUnavailableError, InvalidRequestError, ServiceUnavailableError
from shared.kernel.names import KeySource
from shared.kernel.secret import SecretText
from shared.runtime.bus import Bus
from shared.runtime.delivery import Delivery
from shared.runtime.publisher import TIMEOUT_S
from shared.runtime.rpc import Route, RpcServer
from tests.fakes.billing import usage_event
from tests.gate import open_gate
from tests.realm import BusFor, TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

CONSENT: Final = ConsentChanged(
    user_id="u", consent_id="c", allow_platform_fallback=True, allow_gateway_fallback=False
)


async def _answer(request: GetBalance) -> Balance:
    if request.user_id == "slow":
        await asyncio.sleep(0.5)
    return Balance(balance_micros=len(request.user_id), held_micros=0, receivable_micros=0)


@pytest.fixture
async def edge(bus_for: BusFor) -> Bus:
    billing, edge = bus_for("billing"), bus_for("api_edge")
    RpcServer(billing, topology.BILLING_RPC, [Route(GetBalance, _answer, ("api_edge",))])
    await billing.start()
    await edge.start()
    return edge


async def test_a_slow_rpc_never_delays_another(edge: Bus) -> None:
    slow = asyncio.create_task(edge.rpc.call(GetBalance(user_id="slow"), Balance, timeout_s=5))
    answers = await asyncio.gather(
        *(edge.rpc.call(GetBalance(user_id="u" * n), Balance, timeout_s=5) for n in range(1, 33))
    )
    assert [answer.balance_micros for answer in answers] == list(range(1, 33))
    assert not slow.done()
    assert (await slow).balance_micros == 4


async def test_a_thousand_messages_at_once_do_not_wait_for_each_other(bus_for: BusFor) -> None:
    worker, edge = bus_for("inference"), bus_for("api_edge")
    heard: list[int] = []
    edge.on_reply(lambda delivery: heard.append(delivery.read(RunStarted, senders=("inference",)).seq))
    await edge.start()
    await worker.start()
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    starts = [RunStarted(run_id=uuid4(), seq=n, attempt=1, key_source=KeySource.USER) for n in range(1000)]
    await asyncio.gather(*(worker.relay(start, edge.reply_to) for start in starts))
    counting.cancel()
    assert turns < 20
    await until(lambda: len(heard) == 1000)
    assert heard == list(range(1000))


async def test_an_rpc_that_its_caller_may_not_send_is_not_delivered(edge: Bus) -> None:
    request = AuthorizeRun.model_validate(
        {
            "run_id": uuid4(),
            "attempt": 1,
            "user_id": "u",
            "provider": "openai",
            "model": "m",
            "prompt_tokens_max": 1,
            "completion_tokens_max": 1,
            "expires_at": "2030-01-01T00:00:00Z",
        }
    )
    with pytest.raises(ServiceUnavailableError):
        await edge.rpc.call(request, RunAuthorized, timeout_s=0.5)
    assert (await edge.rpc.call(GetBalance(user_id="u"), Balance, timeout_s=5)).balance_micros == 1


async def test_relayed_messages_arrive_in_order_and_only_where_they_are_sent(bus_for: BusFor) -> None:
    worker, one, other = bus_for("inference"), bus_for("api_edge"), bus_for("api_edge")
    seen: list[int] = []
    strays: list[Delivery] = []
    one.on_reply(lambda delivery: seen.append(delivery.read(RunStarted, senders=("inference",)).seq))
    other.on_reply(strays.append)
    for bus in (worker, one, other):
        await bus.start()
    run_id = uuid4()
    for seq in range(200):
        await worker.relay(
            RunStarted(run_id=run_id, seq=seq, attempt=1, key_source=KeySource.USER), one.reply_to
        )
    await until(lambda: len(seen) == 200)
    assert seen == list(range(200))
    assert strays == []


async def test_control_reaches_every_worker(bus_for: BusFor) -> None:
    edge, workers = bus_for("api_edge"), [bus_for("inference"), bus_for("inference")]
    seen: list[CancelRun] = []

    async def on_cancel(delivery: Delivery) -> None:
        seen.append(delivery.read(CancelRun, senders=("api_edge",)))

    for worker in workers:
        worker.on_broadcast(topology.CONTROL, on_cancel)
        await worker.start()
    await edge.start()
    cancel = CancelRun(run_id=uuid4())
    await edge.publish(cancel)
    await until(lambda: len(seen) == 2)
    assert seen == [cancel, cancel]


async def test_a_publish_the_broker_refuses_is_an_error(bus_for: BusFor) -> None:
    worker = bus_for("inference")
    await worker.start()
    with pytest.raises(BusUnavailableError):
        await worker.publish(_granted())


async def test_a_failing_message_comes_back_and_a_malformed_one_is_dead_lettered(
    bus_for: BusFor, realm: TestRealm
) -> None:
    billing = bus_for("billing")
    tries: list[bool] = []

    async def fail_once(delivery: Delivery) -> None:
        _ = delivery.envelope
        tries.append(delivery.redelivered)
        if len(tries) == 1:
            raise RuntimeError("database away")

    billing.subscribe(topology.BILLING_USAGE, fail_once, prefetch=1)
    await billing.start()
    await _put(realm, topology.BILLING_USAGE, b"not an event")
    await _put(realm, topology.BILLING_USAGE, b'{"specversion":"1.0","id":"1","source":"s","type":"t",'
               b'"time":"2026-01-01T00:00:00Z","data":{}}')  # fmt: skip
    await until(lambda: len(tries) == 2)
    assert tries == [False, True]
    assert (await _take(realm, topology.dead_letters(topology.BILLING_USAGE))).body == b"not an event"


async def test_a_publish_that_reaches_no_queue_is_an_error(bus_for: BusFor) -> None:
    edge = bus_for("api_edge")
    await edge.start()
    with pytest.raises(BusUnavailableError):
        await edge.publish(CancelRun(run_id=uuid4()))  # no worker listens


async def test_of_many_published_at_once_each_is_there_once_and_one_that_reaches_no_queue_fails_alone(
    bus_for: BusFor,
) -> None:
    edge, worker, other = bus_for("api_edge"), bus_for("inference"), bus_for("inference")
    heard: list[CancelRun] = []

    async def hear(delivery: Delivery) -> None:
        heard.append(delivery.read(CancelRun, senders=("api_edge",)))

    worker.on_broadcast("control", hear)
    await edge.start()
    with pytest.raises(BusUnavailableError):
        await edge.publish(CancelRun(run_id=uuid4()))  # nobody listens
    await worker.start()
    await other.start()
    cancels = [CancelRun(run_id=uuid4()) for _ in range(300)]
    forbidden = asyncio.create_task(other.publish(_granted()))
    await asyncio.gather(*map(edge.publish, cancels))
    await until(lambda: len(heard) >= len(cancels))
    assert heard == cancels
    with pytest.raises(BusUnavailableError):
        await forbidden


async def test_a_bus_that_hangs_holds_up_each_who_publishes_equally_long_and_nobody_once_it_is_back(
    realm: TestRealm,
) -> None:
    """Frames wait in a queue meanwhile; from that of a lost connection nothing is taken any more."""
    url, loop = realm.env("key_vault")["LATCHKEY_AMQP_URL"], asyncio.get_running_loop()

    async def waited_s(key_vault: Bus, after_s: float) -> float:
        await asyncio.sleep(after_s)
        began = loop.time()
        with pytest.raises(BusUnavailableError):
            await key_vault.publish(CONSENT)
        return loop.time() - began

    async with open_gate(url) as gate:
        key_vault = Bus(
            SecretText(gate.before(url)), service="key_vault", instance="behind", realm=realm.name
        )
        await key_vault.start()
        await key_vault.publish(CONSENT)
        gate.freeze()
        told = [_chunk("x" * 4_000_000)] * 2 + [_chunk("x")] * 8300
        telling = asyncio.gather(
            *(key_vault.relay(chunk, "reply.api_edge.nobody") for chunk in told), return_exceptions=True
        )
        await asyncio.sleep(1)
        waits = await asyncio.gather(*(waited_s(key_vault, after_s) for after_s in (0, 1, 1)))
        assert max(waits) < TIMEOUT_S + 2
        await gate.close()
        await gate.open()
        await until(lambda: _is_published(key_vault))
        await telling
        await key_vault.stop()


async def test_what_is_published_outlives_the_broker_and_names_its_sender(
    bus_for: BusFor, realm: TestRealm
) -> None:
    worker, event = bus_for("inference"), usage_event()
    await worker.start()
    await worker.publish(event, event_id=str(event.usage_id))
    message = await _take(realm, topology.BILLING_USAGE)
    assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
    assert message.user_id == f"{realm.name}_inference"
    assert (message.message_id, message.type) == (str(event.usage_id), event.event_type())


async def test_what_no_message_can_hold_is_refused_and_the_channel_stays(
    bus_for: BusFor, realm: TestRealm
) -> None:
    """The broker would close the channel that all others publish on."""
    worker, edge = bus_for("inference"), bus_for("api_edge")
    heard: list[str] = []
    edge.on_reply(lambda told: heard.append(*told.read(RunChunk, senders=("inference",)).chunks))
    await edge.start()
    await worker.start()
    await worker.relay(_chunk(fits := "x" * (MESSAGE_BYTES_MAX - 1024)), edge.reply_to)
    for send in (worker.relay(_chunk("x" * MESSAGE_BYTES_MAX), edge.reply_to), edge.publish(_attach())):
        with pytest.raises(InvalidRequestError):
            await send
    await worker.relay(_chunk("y"), edge.reply_to)
    await until(lambda: heard == [fits, "y"])
    with pytest.raises(aio_pika.exceptions.ChannelClosed):
        await _put(realm, topology.BILLING_USAGE, b"x" * (MESSAGE_BYTES_MAX + 1))


async def _is_published(bus: Bus) -> bool:
    try:
        await bus.publish(CONSENT)
    except BusUnavailableError:
        return False
    return True


def _chunk(text: str) -> RunChunk:
    return RunChunk(run_id=uuid4(), seq=0, chunks=(text,))


def _attach() -> AttachRun:
    return AttachRun(run_id=uuid4(), reply_to="x" * MESSAGE_BYTES_MAX)


def _granted() -> Message:
    return CreditsGranted(transfer_id=uuid4(), user_id="u", amount_micros=1, granted_by="t")


@asynccontextmanager
async def _channel(realm: TestRealm) -> AsyncIterator[AbstractChannel]:
    """The administrator's."""
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        yield await connection.channel()


async def _put(realm: TestRealm, queue: str, body: bytes) -> None:
    async with _channel(realm) as channel:
        await channel.default_exchange.publish(aio_pika.Message(body), queue)


async def _take(realm: TestRealm, queue: str) -> AbstractIncomingMessage:
    async with _channel(realm) as channel, asyncio.timeout(10):
        found = await channel.get_queue(queue, ensure=False)
        while (message := await found.get(fail=False, no_ack=True)) is None:
            await asyncio.sleep(0.05)
        return message
