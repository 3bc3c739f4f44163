"""Batches on a real broker: one word settles a batch, each message has its own fate, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from shared.contracts.credits import CreditsGranted
from shared.contracts.topology import BILLING_USAGE, dead_letters
from shared.kernel.errors import BusUnavailableError, InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, INFERENCE
from shared.kernel.secret import SecretText
from shared.runtime.bus import Bus
from shared.runtime.delivery import Delivery
from tests.envelopes import event_body
from tests.fakes.billing import usage_event
from tests.gate import open_gate
from tests.realm import BusFor, TestRealm
from tests.stream_filler import Told, fill
from tests.waiting import until

pytestmark = pytest.mark.integration


@dataclass
class Taker:
    """Takes batches; says of a message what `verdicts` says of its body, the first time."""

    verdicts: dict[bytes, Exception] = field(default_factory=dict)
    batches: list[list[Delivery]] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.go_on.set()

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for batch in self.batches for delivery in batch]

    async def take(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        self.batches.append(list(deliveries))
        await self.go_on.wait()
        return [self.verdicts.pop(delivery.body, None) for delivery in deliveries]


@dataclass(frozen=True)
class Line:
    """As an outbox keeps it."""

    event_id: UUID
    routing_key: str
    body: str


async def _put(realm: TestRealm, count: int, first: int = 0) -> list[bytes]:
    bodies = [f"message {number}".encode() for number in range(first, first + count)]
    await fill(realm, INFERENCE, [Told("usage.recorded.v1", body) for body in bodies])
    return bodies


async def _left(realm: TestRealm, queue: str) -> list[bytes]:
    """Take what a queue still has."""
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        found = await (await connection.channel()).get_queue(queue, ensure=False)
        left = []
        while (message := await found.get(fail=False, no_ack=True)) is not None:
            left.append(message.body)
        return left


async def test_each_message_of_a_batch_has_its_own_fate(bus_for: BusFor, realm: TestRealm) -> None:
    bodies = await _put(realm, 1_000)
    taker = Taker({bodies[7]: InvalidRequestError("never"), bodies[499]: RuntimeError("not now")})
    billing = bus_for(BILLING)
    billing.subscribe_batches(BILLING_USAGE, taker.take)
    await billing.start()
    await until(lambda: len(taker.bodies) == 1_001)
    await billing.stop()
    assert 50 < max(map(len, taker.batches)) <= 500
    assert sorted(taker.bodies) == sorted([*bodies, bodies[499]])
    assert [d.body for batch in taker.batches for d in batch if d.redelivered] == [bodies[499]]
    assert await _left(realm, BILLING_USAGE) == []
    assert await _left(realm, dead_letters(BILLING_USAGE)) == [bodies[7]]


async def test_what_is_urgent_takes_those_along_that_wait(bus_for: BusFor, realm: TestRealm) -> None:
    taker = Taker()
    billing = bus_for(BILLING)
    billing.subscribe_batches(
        BILLING_USAGE, taker.take, linger_ms=60_000, urgent=lambda delivery: delivery.body == b"message 2"
    )
    await billing.start()
    bodies = await _put(realm, 2)
    await asyncio.sleep(0.2)
    assert taker.batches == []
    bodies += await _put(realm, 1, first=2)
    await until(lambda: taker.bodies == bodies)
    bodies += await _put(realm, 1, first=3)
    await asyncio.sleep(0.2)
    assert len(taker.batches) == 1
    bodies += await _put(realm, 1, first=2)
    await until(lambda: taker.bodies == bodies)
    assert len(taker.batches) == 2
    await billing.stop()


async def test_what_is_urgent_hurries_behind_a_full_batch_too(bus_for: BusFor, realm: TestRealm) -> None:
    taker = Taker()
    billing = bus_for(BILLING)
    billing.subscribe_batches(
        BILLING_USAGE,
        taker.take,
        size=2,
        linger_ms=60_000,
        urgent=lambda delivery: delivery.body == b"message 2",
    )
    bodies = await _put(realm, 3)
    await billing.start()
    await until(lambda: taker.bodies == bodies)
    assert [len(batch) for batch in taker.batches] == [2, 1]
    await billing.stop()


async def test_what_waits_for_others_is_done_with_before_the_end(bus_for: BusFor, realm: TestRealm) -> None:
    taker = Taker()
    billing = bus_for(BILLING)
    billing.subscribe_batches(BILLING_USAGE, taker.take, linger_ms=60_000)
    await billing.start()
    bodies = await _put(realm, 3)
    await asyncio.sleep(0.2)
    assert taker.batches == []
    async with asyncio.timeout(5):
        await billing.stop()
    assert taker.bodies == bodies
    assert await _left(realm, BILLING_USAGE) == []


async def test_a_batch_that_is_done_first_acknowledges_none_of_the_one_before(
    bus_for: BusFor, realm: TestRealm
) -> None:
    first = asyncio.Event()
    done: list[int] = []

    async def first_is_slow(deliveries: Sequence[Delivery]) -> list[Exception | None]:
        if deliveries[0].body == b"message 0":
            await first.wait()
        done.append(len(deliveries))
        return [None] * len(deliveries)

    billing = bus_for(BILLING)
    billing.subscribe_batches(BILLING_USAGE, first_is_slow, size=10)
    await billing.start()
    bodies = await _put(realm, 20)
    await until(lambda: bool(done))
    await asyncio.sleep(0.2)
    await billing.broker.stop()  # as a process that is killed
    assert sorted(await _left(realm, BILLING_USAGE)) == sorted(bodies)
    first.set()
    await billing.stop()


async def test_what_a_handler_raises_for_all_of_them_brings_them_all_back(
    bus_for: BusFor, realm: TestRealm
) -> None:
    bodies = await _put(realm, 3)
    seen: list[list[bytes]] = []

    async def fail_once(deliveries: Sequence[Delivery]) -> list[Exception | None]:
        seen.append([delivery.body for delivery in deliveries])
        if len(seen) == 1:
            raise RuntimeError("database away")
        return [None] * len(deliveries)

    billing = bus_for(BILLING)
    billing.subscribe_batches(BILLING_USAGE, fail_once)
    await billing.start()
    await until(lambda: sum(map(len, seen[1:])) == 3)
    await billing.stop()
    assert sorted(body for batch in seen[1:] for body in batch) == bodies
    assert await _left(realm, BILLING_USAGE) == []


async def test_two_batches_are_at_work_at_a_time_and_the_next_one_gathers(
    bus_for: BusFor, realm: TestRealm
) -> None:
    taker, billing = Taker(), bus_for(BILLING)
    taker.go_on.clear()
    billing.subscribe_batches(BILLING_USAGE, taker.take, size=10)
    await billing.start()
    bodies = await _put(realm, 1) + await _put(realm, 25, first=1)
    await until(lambda: len(taker.batches) == 2)
    await asyncio.sleep(0.2)
    assert list(map(len, taker.batches)) == [1, 10]
    taker.go_on.set()
    await until(lambda: len(taker.bodies) == 26)
    assert taker.bodies == bodies, "in order"
    assert await billing.consumers(BILLING_USAGE) == 1
    await billing.stop()


async def test_a_draining_bus_finishes_what_it_has_and_takes_no_more(
    bus_for: BusFor, realm: TestRealm
) -> None:
    taker, billing = Taker(), bus_for(BILLING)
    taker.go_on.clear()
    billing.subscribe_batches(BILLING_USAGE, taker.take, size=5)
    await billing.start()
    bodies = await _put(realm, 30)
    await until(lambda: bool(taker.batches))
    draining = asyncio.create_task(billing.drain())
    await asyncio.sleep(0.2)
    assert not draining.done()
    taker.go_on.set()
    await draining
    await billing.stop()
    assert 5 <= len(taker.bodies) < 30
    assert sorted(taker.bodies + await _left(realm, BILLING_USAGE)) == sorted(bodies), "each once"


async def test_a_handler_that_does_not_end_is_left_after_a_while(realm: TestRealm) -> None:
    taker = Taker()
    taker.go_on.clear()
    billing = realm.bus(BILLING, graceful_s=0.3)
    billing.subscribe_batches(BILLING_USAGE, taker.take)
    await billing.start()
    bodies = await _put(realm, 3)
    await until(lambda: bool(taker.batches))
    await asyncio.wait_for(billing.stop(), 5)
    assert sorted(await _left(realm, BILLING_USAGE)) == bodies


@asynccontextmanager
async def _gated(realm: TestRealm, taker: Taker) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Consumes behind a gate; yields what cuts the connection."""
    url = realm.env(BILLING)["LATCHKEY_AMQP_URL"]
    async with open_gate(url) as gate:

        async def cut() -> None:
            await gate.close()
            await gate.open()

        billing = Bus(
            SecretText(gate.before(url)), service=BILLING, instance=new_id().hex[-8:], realm=realm.name
        )
        billing.subscribe_batches(BILLING_USAGE, taker.take, size=10)
        await billing.start()
        yield cut
        await billing.stop()


async def test_on_a_new_connection_it_consumes_on_and_acknowledges_nothing_by_old_numbers(
    realm: TestRealm,
) -> None:
    taker = Taker()
    taker.go_on.clear()
    async with _gated(realm, taker) as cut:
        first = await _put(realm, 25)
        await until(lambda: len(taker.batches) == 2)
        in_hand = len(taker.bodies)
        await cut()
        await asyncio.sleep(3)  # longer than it takes to connect anew
        taker.go_on.set()
        second = await _put(realm, 15, first=25)
        in_all = in_hand + len(first) + len(second)
        await until(lambda: set(taker.bodies) == {*first, *second} and len(taker.bodies) >= in_all)
    again = [delivery.body for batch in taker.batches for delivery in batch if delivery.redelivered]
    assert sorted(again) == sorted(first), "those in hand came again, the batch at work and the waiting ones"
    assert len(taker.bodies) == in_all, "and those that only waited were handed over once"
    assert await _left(realm, BILLING_USAGE) == []


async def test_events_are_published_as_they_are_written_each_with_its_confirm(
    bus_for: BusFor, realm: TestRealm
) -> None:
    worker = bus_for(INFERENCE)
    await worker.start()
    lines = [_line("usage.recorded.v1") for _ in range(300)]
    assert await worker.publish_all("usage", lines) == [line.event_id for line in lines]
    messages = await _messages(realm, 300)
    assert [message.body.decode() for message in messages] == [line.body for line in lines]
    assert [message.message_id for message in messages] == [str(line.event_id) for line in lines]
    (message, *_) = messages
    assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
    assert message.user_id == f"{realm.name}_inference"
    assert message.type == "latchkey.usage.recorded.v1"
    assert message.content_type == "application/cloudevents+json"


async def test_what_reaches_no_queue_is_not_confirmed(bus_for: BusFor, realm: TestRealm) -> None:
    edge = bus_for("api_edge")
    await edge.start()
    assert await edge.publish_all("control", [_line("run.cancel.v1")]) == [], "no worker listens"


async def test_what_the_broker_refuses_is_not_confirmed(bus_for: BusFor) -> None:
    worker = bus_for(INFERENCE)
    await worker.start()
    assert await worker.publish_all("usage", [_line("credits.granted.v1")]) == []
    await until(lambda: worker.connected)


async def test_without_a_connection_nothing_is_published(bus_for: BusFor) -> None:
    with pytest.raises(BusUnavailableError):
        await bus_for(BILLING).publish_all("usage", [_line("credits.granted.v1")])


def _line(routing_key: str) -> Line:
    event_id = uuid4()
    message = usage_event() if routing_key.startswith("usage.") else _granted()
    body = event_body(message, source=INFERENCE, event_id=str(event_id)).decode()
    return Line(event_id, routing_key, body)


def _granted() -> CreditsGranted:
    return CreditsGranted(transfer_id=uuid4(), user_id="u", amount_micros=1, granted_by="t")


async def _messages(realm: TestRealm, count: int) -> list[AbstractIncomingMessage]:
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        found = await (await connection.channel()).get_queue(BILLING_USAGE, ensure=False)
        return [await found.get(no_ack=True) for _ in range(count)]
