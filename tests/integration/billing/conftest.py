"""billing on real parts, in a realm of its own, with a gate before Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import aio_pika
import asyncpg
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel

from infra.bootstrap import Servers
from infra.event_stream import events
from services.billing.app import serving
from services.billing.settings import BillingSettings
from shared.contracts.credits import Balance, CreditsMoved, GetBalance, GrantCredits
from shared.contracts.message import Envelope
from shared.contracts.topology import BILLING_USAGE, dead_letters
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, BILLING, INFERENCE
from shared.runtime.bus import Bus
from tests.gate import Gate, open_gate
from tests.nursery import Nursery
from tests.parts import Part
from tests.realm import BusFor, TestRealm, temporary_realm

Start: TypeAlias = Callable[[], AbstractAsyncContextManager[Bus]]

_PATIENCE_S = 30.0


@pytest_asyncio.fixture(scope="package")
async def realm(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    async with temporary_realm(servers, tmp_path_factory.mktemp("realm")) as made:
        yield made


@pytest.fixture
async def postgres_gate(realm: TestRealm) -> AsyncIterator[Gate]:
    async with open_gate(realm.env(BILLING)["LATCHKEY_POSTGRES_URL"]) as gate:
        yield gate


@pytest.fixture
def start(realm: TestRealm, postgres_gate: Gate) -> Start:
    """Starts a replica of billing in this process, behind the gate."""
    values = realm.settings(BILLING)
    values["postgres_url"] = postgres_gate.before(values["postgres_url"])

    @asynccontextmanager
    async def started() -> AsyncIterator[Bus]:
        async with serving(BillingSettings(**values)) as bus:
            yield bus

    return started


@pytest.fixture
async def billing(start: Start) -> AsyncIterator[Bus]:
    async with start() as bus:
        yield bus


@pytest.fixture
async def process(realm: TestRealm, parents: Nursery, tmp_path: Path) -> AsyncIterator[Part]:
    """A billing of its own process, not started; killed when it still runs at the end."""
    env = {"LATCHKEY_ENV_FILE": str(realm.env_dir / f"{BILLING}.env")}
    part = Part(parents, BILLING, "services.billing.app", env=env, log=tmp_path / "billing.log")
    yield part
    await part.kill()


@dataclass(frozen=True)
class Edge:
    """What the edge asks of billing, for one user."""

    bus: Bus
    user_id: str

    async def grant(self, amount_micros: int) -> CreditsMoved:
        request = GrantCredits(
            user_id=self.user_id,
            amount_micros=amount_micros,
            idempotency_key=str(new_id()),
            granted_by="root",
        )
        return await self.bus.rpc.call(request, CreditsMoved, timeout_s=10)

    async def balance(self) -> tuple[int, int, int]:
        found = await self.bus.rpc.call(GetBalance(user_id=self.user_id), Balance, timeout_s=10)
        return found.balance_micros, found.held_micros, found.receivable_micros

    async def until(self, balance: tuple[int, int, int]) -> None:
        """Wait for a balance: posted, held, receivable."""
        await until(self.balance, balance)


@pytest.fixture
async def edge(bus_for: BusFor) -> Edge:
    bus = bus_for(API_EDGE)
    await bus.start()
    return Edge(bus, f"user-{new_id()}")


@pytest.fixture
async def worker(bus_for: BusFor) -> Bus:
    bus = bus_for(INFERENCE)
    await bus.start()
    return bus


@pytest.fixture
async def database(realm: TestRealm) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """The administrator's connection."""
    connection = await asyncpg.connect(realm.admin["LATCHKEY_POSTGRES_URL"])
    yield connection
    await connection.close()


@pytest.fixture
async def broker(realm: TestRealm) -> AsyncIterator[AbstractChannel]:
    """The administrator's channel."""
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        yield await connection.channel()


async def until(read: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Read again and again; raise AssertionError with what was read last."""
    found: object = None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while (found := await read()) != wanted:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{found} is not {wanted} after {_PATIENCE_S:.0f} s") from None


async def report(worker: Bus, *events: UsageRecorded) -> None:
    """Publish usage events as the workers do."""
    await asyncio.gather(*(worker.publish(event, event_id=str(event.usage_id)) for event in events))


async def stream(realm: TestRealm, user_id: str) -> list[Envelope]:
    """Return all that the stream holds of a user, as often as it is there."""
    kept = events(realm.admin["LATCHKEY_ANALYST_AMQP_URL"], "first", follow=False)
    told = [Envelope.decode(text.encode()) async for text in kept]
    return [envelope for envelope in told if envelope.data.get("user_id") == user_id]


async def dead(channel: AbstractChannel) -> int | None:
    """Return how many usage events were dead-lettered."""
    return await _ready(channel, dead_letters(BILLING_USAGE))


async def waiting(channel: AbstractChannel) -> int | None:
    """Return how many usage events no billing has in hand yet."""
    return await _ready(channel, BILLING_USAGE)


async def _ready(channel: AbstractChannel, name: str) -> int | None:
    queue = await channel.declare_queue(name, passive=True)
    return queue.declaration_result.message_count
