"""Who hears kept runs at an edge: so many of one user's, and none that is gone."""

import asyncio
from uuid import UUID

import httpx2
import pytest

from services.api_edge.domain.runs import KeptRun
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_runs import InMemoryRunStore
from tests.fakes.api_edge_worker import Tell, chunk

pytestmark = pytest.mark.component

MESSAGES = [{"role": "user", "content": "hello"}]
MEMBERS = ["openai/gpt-4o-mini", "openai/gpt-4o"]


class HaltingRunStore(InMemoryRunStore):
    """`halts`: whoever looks for a run waits for ever, once so many have looked."""

    def __init__(self) -> None:
        super().__init__()
        self.halts: int | None = None

    async def find(self, user_id: str, run_id: UUID) -> KeptRun | None:
        if self.halts is not None:
            self.halts -= 1
            if self.halts < 0:
                await asyncio.Event().wait()
        return await super().find(user_id, run_id)


async def halts(tell: Tell) -> None:
    tell.started()
    await asyncio.sleep(30)


async def says(tell: Tell) -> None:
    tell.started()
    tell.chunk(chunk(tell.run.model))
    await asyncio.sleep(0.05)
    tell.completed()


async def start(client: httpx2.AsyncClient) -> str:
    run_id: str = (await client.post("/api/runs", json={"messages": MESSAGES})).json()["run_id"]
    return run_id


async def start_streamed(client: httpx2.AsyncClient) -> str:
    body = {"kind": "stream", "messages": MESSAGES}
    run_id: str = (await client.post("/api/runs", json=body)).json()["run_id"]
    return run_id


async def council(client: httpx2.AsyncClient) -> str:
    key = {"service": "openai", "api_key": "sk-openai-0123456789abcdef"}
    (await client.post("/api/keys", json=key)).raise_for_status()
    body = {"members": MEMBERS, "model": MEMBERS[1], "messages": MESSAGES}
    council_id: str = (await client.post("/api/councils", json=body)).json()["council_id"]
    return council_id


async def hear(client: httpx2.AsyncClient, path: str) -> asyncio.Task[httpx2.Response]:
    task = asyncio.create_task(client.get(path))
    await asyncio.sleep(0.05)
    return task


async def leave(*tasks: asyncio.Task[httpx2.Response]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_leaves_before_a_first_word_gives_the_place_back() -> None:
    edge = Edge()
    edge.bus.store = edge.runs = runs = HaltingRunStore()
    edge.bus.worker = halts
    async with edge.client() as client:
        run_id = await start(client)
        runs.halts = 1
        await leave(await hear(client, f"/api/runs/{run_id}/events"))
    assert (len(edge.waiting), runs.halts) == (0, -1)


async def test_who_leaves_a_council_before_a_first_word_gives_all_places_back() -> None:
    edge = Edge()
    edge.bus.store = edge.runs = runs = HaltingRunStore()
    edge.bus.worker = says
    async with edge.client() as client:
        council_id = await council(client)
        await client.get(f"/api/councils/{council_id}/events")
        assert len(edge.waiting) == 0
        runs.halts = 2  # the first look is for the synthesis, the second finds the first member
        await leave(await hear(client, f"/api/councils/{council_id}/events"))
    assert (len(edge.waiting), runs.halts) == (0, -2)


async def test_one_user_takes_so_many_places_and_no_more() -> None:
    edge = Edge(hearings_at_once_max=2)
    edge.bus.worker = halts
    async with edge.client() as client, edge.client("lk_bob") as other:
        run_id, others_id = await start(client), await start(other)
        path = f"/api/runs/{run_id}/events"
        open_ones = [await hear(client, path) for _ in range(2)]
        refused = await client.get(path)
        others = await hear(other, f"/api/runs/{others_id}/events")
        assert (len(edge.waiting), others.done()) == (3, False)
        started = await client.post("/api/runs", json={"messages": MESSAGES})
        await leave(open_ones[0])
        again = await hear(client, path)
        assert (len(edge.waiting), again.done()) == (3, False)
        await leave(*open_ones, again, others)
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["detail"]) == (
        429,
        "rate_limited",
        "too_many_at_once",
    )
    assert (refused.headers["retry-after"], started.status_code) == ("1", 202)
    assert len(edge.waiting) == 0


async def test_many_who_come_at_once_hear_all_of_a_run_that_is_told_again_hardly_ever() -> None:
    async def says_on(tell: Tell) -> None:
        tell.started()
        for number in range(5):
            tell.chunk(chunk(f"{number} "))
            await asyncio.sleep(0.4)
        tell.completed()

    edge = Edge()
    edge.bus.worker = says_on
    async with edge.client() as client:
        path = f"/api/runs/{await start_streamed(client)}/events"
        await asyncio.sleep(0.1)
        told = await asyncio.gather(*(client.get(path) for _ in range(20)))
    assert {answer.text.count("event: message_chunk\n") for answer in told} == {5}
    assert len(edge.bus.attached) <= 4


async def test_every_member_of_a_council_takes_a_place_of_its_listener() -> None:
    edge = Edge(hearings_at_once_max=1)
    edge.bus.worker = says
    async with edge.client() as client:
        told = (await client.get(f"/api/councils/{await council(client)}/events")).text
    assert told.count("event: member_completed\n") == 1
    assert told.count("event: member_failed\n") == 1
    assert '"code":"rate_limited"' in told


async def test_the_edges_own_hearing_of_a_council_takes_none() -> None:
    edge = Edge(hearings_at_once_max=1)
    edge.bus.worker = says
    async with edge.client() as client:
        await council(client)
        await asyncio.sleep(0.3)
    synthesis = str(edge.bus.requested[-1].body["messages"])
    assert len(edge.bus.requested) == 3
    assert all(model in synthesis for model in MEMBERS)


async def test_a_place_is_given_back_when_the_edge_has_none_left() -> None:
    edge = Edge(runs_max=1, hearings_at_once_max=2)
    edge.bus.worker = halts
    async with edge.client() as client:
        path = f"/api/runs/{await start(client)}/events"
        first = await hear(client, path)
        refused = [(await client.get(path)).status_code for _ in range(3)]
        await leave(first)
    assert refused == [503, 503, 503]


async def test_a_request_that_comes_again_takes_a_place_while_it_waits() -> None:
    edge = Edge(hearings_at_once_max=1)
    edge.bus.worker = halts
    body = {"model": "openai/gpt-4o-mini", "messages": MESSAGES}
    async with edge.client(headers={"Idempotency-Key": "one"}) as client:
        tasks = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(2)]
        await asyncio.sleep(0.05)
        refused = await client.post("/v1/chat/completions", json=body)
        await leave(*tasks)
    assert (refused.status_code, len(edge.bus.requested), len(edge.waiting)) == (429, 1, 0)
