"""The last run of a council: it is asked for until the workers have it, and with the caller's key."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx2
import pytest

from services.api_edge.domain.runs import KeptRun
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.runs import RunRequested
from shared.kernel.errors import BusUnavailableError, DatabaseUnavailableError
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_runs import InMemoryRunStore
from tests.fakes.api_edge_worker import InMemoryRunBus, Tell, chunk

pytestmark = pytest.mark.component

MEMBERS = ["openai/gpt-4o-mini", "openai/gpt-4.1"]
LAST = "openai/gpt-4o"
BODY = {"members": MEMBERS, "model": LAST, "messages": [{"role": "user", "content": "2 + 2?"}]}
KEY = {"X-OpenAI-Key": "sk-0123456789abcdef"}


class GatedBus(InMemoryRunBus):
    """What is asked for `model` waits until `passing` is set; the first `refusals` of them find no bus."""

    def __init__(self, waiting: WaitingRuns, store: InMemoryRunStore, model: str) -> None:
        super().__init__(waiting, store)
        self.worker = speaks
        self.passing = asyncio.Event()
        self.refusals = 0
        self.tried: list[RunRequested] = []
        self._model = model

    async def request(self, run: RunRequested) -> None:
        if run.model == self._model:
            self.tried.append(run)
            await self.passing.wait()
            self._refuse()
        await super().request(run)

    def _refuse(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise BusUnavailableError(service="rabbitmq")


class ShakyRunStore(InMemoryRunStore):
    """Fails `blinks` times to find a run, once all members are kept; is away once it has kept `room` runs."""

    def __init__(self, *, blinks: int = 0, room: int = 100) -> None:
        super().__init__()
        self.blinks = blinks
        self._room = room

    async def keep(self, run: KeptRun, at_once_max: int = 0) -> KeptRun | None:
        if len(self.kept) == self._room:
            self.error = DatabaseUnavailableError(service="postgres")
        return await super().keep(run, at_once_max)

    async def find(self, user_id: str, run_id: UUID) -> KeptRun | None:
        if self.blinks and len(self.kept) == len(MEMBERS):
            self.blinks -= 1
            raise DatabaseUnavailableError(service="postgres")
        return await super().find(user_id, run_id)


async def speaks(tell: Tell) -> None:
    tell.started()
    tell.chunk(chunk(f"I am {tell.run.model}"))
    tell.completed()


def an_edge(model: str, *, at_once: int = 0, runs: InMemoryRunStore | None = None) -> tuple[Edge, GatedBus]:
    edge = Edge(runs_at_once_max=at_once)
    edge.runs = runs or edge.runs
    bus = edge.bus = GatedBus(edge.waiting, edge.runs, model)
    return edge, bus


async def call(client: httpx2.AsyncClient, body: object = None) -> dict[str, Any]:
    answer = await client.post("/api/councils", json=body or BODY, headers={**KEY, "Idempotency-Key": "k-1"})
    assert answer.status_code == 202, answer.text
    called: dict[str, Any] = answer.json()
    return called


async def read(client: httpx2.AsyncClient, called: dict[str, Any]) -> dict[str, Any]:
    council: dict[str, Any] = (await client.get(f"/api/councils/{called['council_id']}")).json()
    return council


async def until(truth: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not truth():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("members", "at_once"), [(MEMBERS, 0), (MEMBERS[:1], 1)])
async def test_the_synthesis_is_asked_for_until_the_bus_is_back(members: list[str], at_once: int) -> None:
    edge, bus = an_edge(LAST, at_once=at_once)
    bus.refusals = 2
    bus.passing.set()
    async with edge.client() as client:
        called = await call(client, {**BODY, "members": members})
        await until(lambda: len(bus.tried) == 1)
        assert (await read(client, called))["status"] == "running"
        events = await client.get(f"/api/councils/{called['council_id']}/events")
        council = await read(client, called)
    assert (council["status"], council["response"]) == ("completed", f"I am {LAST}")
    assert "event: final_response" in events.text
    assert len(bus.tried) == 3
    assert [str(run.run_id) for run in bus.requested if run.model == LAST] == [called["synthesis_run_id"]]
    assert bus.cancelled == []


async def test_what_is_asked_for_again_ends_no_later_and_may_begin_until_then() -> None:
    edge, bus = an_edge(LAST)
    bus.refusals = 1
    bus.passing.set()
    async with edge.client() as client:
        await call(client)
        await until(lambda: len(bus.requested) == 3)
    assert len({run.deadline for run in bus.tried}) == 1
    assert all(run.start_by == run.deadline for run in bus.tried)


async def test_whoever_looks_before_all_are_asked_does_not_lose_the_callers_key() -> None:
    edge, bus = an_edge(MEMBERS[1])
    async with edge.client() as client, edge.client() as other:
        first = asyncio.create_task(call(client))
        await until(lambda: len(bus.tried) == 1)
        again = await call(other)
        await read(other, again)
        await asyncio.sleep(0.05)
        bus.passing.set()
        assert (await first)["council_id"] == again["council_id"]
        await until(lambda: len(bus.requested) == 3)
    assert bus.requested[-1].model == LAST
    assert all(run.request_key is not None for run in bus.requested)


async def test_stopped_while_the_synthesis_is_being_asked_for_it_is_stopped_too() -> None:
    edge, bus = an_edge(LAST)
    async with edge.client() as client:
        called = await call(client)
        await until(lambda: len(bus.tried) == 1)
        stopped = await client.post(f"/api/councils/{called['council_id']}/cancel")
        bus.passing.set()
        await until(lambda: len(bus.requested) == 3)
        council = await read(client, called)
    assert (stopped.status_code, council["status"], council["response"]) == (202, "cancelled", None)
    assert bus.cancelled == [bus.requested[-1].run_id]


async def test_stopped_while_the_bus_is_away_it_is_not_asked_for_any_more() -> None:
    edge, bus = an_edge(LAST)
    bus.refusals = 100
    bus.passing.set()
    async with edge.client() as client:
        called = await call(client)
        await until(lambda: len(bus.tried) == 1)
        await client.post(f"/api/councils/{called['council_id']}/cancel")
        events = await client.get(f"/api/councils/{called['council_id']}/events")
        council = await read(client, called)
        await asyncio.sleep(1.1)
    assert (council["status"], len(bus.tried)) == ("cancelled", 1)
    assert '"code":"run_cancelled"' in events.text


async def test_answers_that_cannot_be_heard_at_once_are_heard_later() -> None:
    runs = ShakyRunStore(blinks=len(MEMBERS))
    edge, bus = an_edge(LAST, runs=runs)
    bus.passing.set()
    async with edge.client() as client:
        called = await call(client)
        await until(lambda: runs.blinks == 0)
        await client.get(f"/api/councils/{called['council_id']}/events")
        council = await read(client, called)
    assert (council["status"], council["response"]) == ("completed", f"I am {LAST}")


async def test_without_the_database_a_member_that_was_asked_is_stopped_all_the_same() -> None:
    edge, bus = an_edge(LAST, runs=ShakyRunStore(room=1))
    async with edge.client() as client:
        answer = await client.post("/api/councils", json=BODY, headers=KEY)
    assert (answer.status_code, len(bus.requested)) == (503, 1)
    assert bus.requested[0].run_id in bus.cancelled
