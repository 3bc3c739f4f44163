"""What the way to the workers promises, held by the fake and by RabbitMQ."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.api_edge.adapters.bus_runs import BusRuns
from services.api_edge.ports import RunBus
from services.api_edge.use_cases.waiting_runs import Inbox, WaitingRuns
from shared.contracts.runs import (
    AttachRun,
    CancelRun,
    RunChunk,
    RunCompleted,
    RunProgress,
    RunRequested,
    RunStarted,
)
from shared.contracts.topology import CONTROL, INFERENCE_RUNS
from shared.kernel.errors import BusUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KeyPolicy, KeyService, KeySource
from shared.runtime.delivery import Delivery
from tests.fakes.api_edge_worker import InMemoryRunBus, Tell
from tests.realm import BusFor

pytestmark = pytest.mark.conformance

TellAll = Callable[[RunRequested, list[RunProgress]], Awaitable[None]]


@dataclass
class Way:
    """An edge and a worker, and what the worker saw."""

    waiting: WaitingRuns
    edge: RunBus
    tell: TellAll
    lose: Callable[[], Awaitable[None]]
    requested: asyncio.Queue[RunRequested] = field(default_factory=asyncio.Queue)
    cancelled: asyncio.Queue[UUID] = field(default_factory=asyncio.Queue)
    attached: asyncio.Queue[tuple[UUID, int]] = field(default_factory=asyncio.Queue)


def _in_memory() -> Way:
    waiting = WaitingRuns(10)

    class Edge(InMemoryRunBus):
        def cancel(self, run_id: UUID) -> None:
            way.cancelled.put_nowait(run_id)

        async def attach(self, run_id: UUID, from_seq: int) -> None:
            way.attached.put_nowait((run_id, from_seq))

    async def worker(told: Tell) -> None:
        way.requested.put_nowait(told.run)

    async def tell(_run: RunRequested, progress: list[RunProgress]) -> None:
        for message in progress:
            waiting.deliver(message)

    async def lose() -> None:
        edge.error = BusUnavailableError()
        waiting.fail_all(BusUnavailableError)

    edge = Edge(waiting)
    edge.worker = worker
    way = Way(waiting, edge, tell, lose)
    return way


async def _on_rabbitmq(bus_for: BusFor) -> Way:
    waiting = WaitingRuns(10)
    mine, worker = bus_for(API_EDGE), bus_for(INFERENCE)
    edge = BusRuns(mine, waiting)

    async def tell(run: RunRequested, progress: list[RunProgress]) -> None:
        for message in progress:
            await worker.relay(message, run.reply_to)

    way = Way(waiting, edge, tell, mine.stop)

    async def on_run(delivery: Delivery) -> None:
        way.requested.put_nowait(delivery.read(RunRequested, senders=(API_EDGE,)))

    async def on_control(delivery: Delivery) -> None:
        if delivery.envelope.type == AttachRun.event_type():
            asked = delivery.read(AttachRun, senders=(API_EDGE,))
            assert asked.reply_to == edge.reply_to
            way.attached.put_nowait((asked.run_id, asked.from_seq))
        else:
            way.cancelled.put_nowait(delivery.read(CancelRun, senders=(API_EDGE,)).run_id)

    worker.subscribe(INFERENCE_RUNS, on_run, prefetch=10)
    worker.on_broadcast(CONTROL, on_control)
    await worker.start()
    await mine.start()
    return way


@pytest.fixture
def memory() -> Way:
    return _in_memory()


@pytest.fixture
async def rabbitmq(bus_for: BusFor) -> Way:
    return await _on_rabbitmq(bus_for)


@pytest.fixture(params=["memory", "rabbitmq"])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.getfixturevalue(request.param)
    return found


def _run(reply_to: str) -> RunRequested:
    now = datetime.now(UTC)
    return RunRequested(
        run_id=new_id(),
        user_id="alice",
        flow="chat",
        policy=KeyPolicy.USER_KEY_PREFERRED,
        provider=KeyService.OPENAI,
        model="openai/gpt-4o-mini",
        stream=True,
        body={"messages": [{"role": "user", "content": "é\x00\u2028"}], "x": 1e300, "y": 2**53},
        reply_to=reply_to,
        requested_at=now,
        start_by=now + timedelta(seconds=10),
        deadline=now + timedelta(seconds=60),
    )


def _progress(run: RunRequested) -> list[RunProgress]:
    chunks = [RunChunk(run_id=run.run_id, seq=seq, chunks=(f'{{"n":{seq}}}',)) for seq in range(1, 101)]
    started = RunStarted(run_id=run.run_id, seq=0, attempt=1, key_source=KeySource.USER)
    return [started, *chunks, RunCompleted(run_id=run.run_id, seq=101, key_source=KeySource.USER)]


async def _all_of(inbox: Inbox, count: int) -> list[RunProgress]:
    async with asyncio.timeout(10):
        return [await inbox.get() for _ in range(count)]


async def test_a_run_reaches_a_worker_as_it_was_asked_for(way: Way) -> None:
    run = _run(way.edge.reply_to)
    await way.edge.request(run)
    assert await asyncio.wait_for(way.requested.get(), 10) == run


async def test_progress_comes_back_whole_and_in_order(way: Way) -> None:
    run = _run(way.edge.reply_to)
    inbox = way.waiting.open(run.run_id)
    await way.edge.request(run)
    await way.tell(await asyncio.wait_for(way.requested.get(), 10), _progress(run))
    assert await _all_of(inbox, 102) == _progress(run)


async def test_a_cancel_reaches_the_workers(way: Way) -> None:
    run_id = new_id()
    way.edge.cancel(run_id)
    assert await asyncio.wait_for(way.cancelled.get(), 10) == run_id


async def test_who_comes_late_asks_the_workers(way: Way) -> None:
    run_id = new_id()
    await way.edge.attach(run_id, 7)
    assert await asyncio.wait_for(way.attached.get(), 10) == (run_id, 7)


async def test_a_kept_run_survives_a_lost_bus(way: Way) -> None:
    inbox = way.waiting.open(new_id(), kept=True)
    await way.lose()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(inbox.get(), 0.3)


async def test_a_lost_bus_is_told_to_everybody(way: Way) -> None:
    inbox = way.waiting.open(new_id())
    await way.lose()
    with pytest.raises(BusUnavailableError):
        await asyncio.wait_for(inbox.get(), 10)
    with pytest.raises(BusUnavailableError):
        await way.edge.request(_run(way.edge.reply_to))
    way.edge.cancel(new_id())


async def test_only_inference_tells_of_runs(bus_for: BusFor) -> None:
    waiting = WaitingRuns(10)
    edge, forger, worker = bus_for(API_EDGE), bus_for(BILLING), bus_for(INFERENCE)
    runs = BusRuns(edge, waiting)
    for bus in (edge, forger, worker):
        await bus.start()
    run = _run(runs.reply_to)
    inbox = waiting.open(run.run_id)
    forged = RunCompleted(run_id=run.run_id, seq=0, key_source=KeySource.USER, response="{}")
    await forger.relay(forged, runs.reply_to)
    await asyncio.sleep(0.3)
    await worker.relay(_progress(run)[0], runs.reply_to)
    assert await _all_of(inbox, 1) == _progress(run)[:1]
