"""`Idempotency-Key`: the same key and request are the same run."""

import asyncio
from dataclasses import replace

import pytest

from services.api_edge.domain.idempotency import request_sha256
from shared.kernel.errors import (
    BusUnavailableError,
    DatabaseUnavailableError,
    InsufficientCreditsError,
    PlatformError,
    ServiceUnavailableError,
    VaultUnavailableError,
)
from shared.kernel.names import Outcome
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import Tell, answers, chunk, fails

pytestmark = pytest.mark.component

CHAT = "/v1/chat/completions"
BODY = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
KEY = {"Idempotency-Key": "order-17"}


async def slow_answer(tell: Tell) -> None:
    tell.started()
    if tell.run.stream:
        for number in range(20):
            tell.chunk(chunk(f"{number} "))
            await asyncio.sleep(0.005)
        tell.completed()
    else:
        await asyncio.sleep(0.1)
        await answers(tell)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_request_is_one_run_while_it_goes_on_and_after(*, stream: bool) -> None:
    edge, body = Edge(), {**BODY, "stream": stream}
    edge.bus.worker = slow_answer
    async with edge.client(headers=KEY) as client:
        first = asyncio.create_task(client.post(CHAT, json=body))
        await asyncio.sleep(0.03)
        second = await client.post(CHAT, json=body)
        third = await client.post(CHAT, json=body)
    assert (await first).status_code == 200
    assert second.content == third.content == (await first).content
    assert len({(await first).headers["latchkey-run-id"], second.headers["latchkey-run-id"]}) == 1
    assert len(edge.bus.requested) == 1


async def test_the_runs_api_answers_with_the_same_run_and_how_it_stands() -> None:
    edge = Edge()
    async with edge.client(headers=KEY) as client:
        first, *again = [(await client.post("/api/runs", json=BODY)).json() for _ in range(3)]
        await client.get(f"/api/runs/{first['run_id']}/events")
        late = (await client.post("/api/runs", json=BODY)).json()
    assert len({run["run_id"] for run in (first, *again, late)}) == len(edge.bus.requested) == 1
    assert (first["status"], late["status"]) == ("queued", "completed")
    assert {run["status"] for run in again} <= {"running", "completed"}


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (CHAT, {**BODY, "seed": 1}, {}),
        (CHAT, BODY, {"Latchkey-Flow": "solver"}),
        ("/api/runs", BODY, {}),
    ],
)
async def test_another_request_with_the_same_key_is_a_conflict(
    path: str, body: dict[str, object], headers: dict[str, str]
) -> None:
    edge = Edge()
    async with edge.client(headers=KEY) as client:
        await client.post(CHAT, json=BODY)
        answer = await client.post(path, json=body, headers=headers)
    error = answer.json().get("error", answer.json())
    assert (answer.status_code, error["code"], error["detail"]) == (
        409,
        "conflict",
        "idempotency_key_reused",
    )
    assert len(edge.bus.requested) == 1


async def test_another_users_key_is_another_key() -> None:
    edge = Edge()
    async with edge.client(headers=KEY) as client, edge.client("lk_bob", headers=KEY) as other:
        await client.post(CHAT, json=BODY)
        await other.post(CHAT, json={**BODY, "seed": 1})
    assert len(edge.bus.requested) == 2


async def test_a_client_that_goes_away_may_come_back() -> None:
    edge = Edge()
    edge.bus.worker = slow_answer
    async with edge.client(headers=KEY) as client:
        gone = asyncio.create_task(client.post(CHAT, json=BODY))
        await asyncio.sleep(0.02)
        gone.cancel()
        answer = await client.post(CHAT, json=BODY)
    assert answer.status_code == 200
    assert (len(edge.bus.requested), edge.bus.cancelled) == (1, [])


async def test_what_never_reached_the_workers_leaves_the_key_free() -> None:
    edge = Edge()
    edge.bus.error = BusUnavailableError()
    async with edge.client(headers=KEY) as client:
        assert (await client.post(CHAT, json=BODY)).status_code == 503
        edge.bus.error = None
        assert (await client.post(CHAT, json=BODY)).status_code == 200


async def test_what_was_refused_before_a_provider_was_called_may_be_tried_again() -> None:
    edge = Edge()
    edge.bus.worker = fails(InsufficientCreditsError())
    async with edge.client(headers=KEY) as client:
        assert (await client.post(CHAT, json=BODY)).status_code == 402
        (run,) = edge.runs.kept.values()
        assert run.end is not None
        await asyncio.sleep(0)
        edge.runs.kept[run.record.run_id] = replace(run, outcome=Outcome.REFUSED)
        edge.bus.worker = answers
        assert (await client.post(CHAT, json=BODY)).status_code == 200
    assert len(edge.bus.requested) == 2


@pytest.mark.parametrize(
    "error",
    [VaultUnavailableError, BusUnavailableError, DatabaseUnavailableError, ServiceUnavailableError],
)
async def test_what_failed_while_a_part_of_ours_was_away_may_be_tried_again(
    error: type[PlatformError],
) -> None:
    edge = Edge()
    edge.bus.worker = fails(error())
    async with edge.client(headers=KEY) as client:
        assert (await client.post(CHAT, json=BODY)).status_code == 503
        await asyncio.sleep(0)
        edge.bus.worker = answers
        assert (await client.post(CHAT, json=BODY)).status_code == 200
    assert len(edge.bus.requested) == 2


async def test_what_failed_after_it_was_called_fails_again_by_itself() -> None:
    edge = Edge()
    edge.bus.worker = fails(InsufficientCreditsError())
    async with edge.client(headers=KEY) as client:
        codes = [(await client.post(CHAT, json=BODY)).status_code for _ in range(2)]
    assert (codes, len(edge.bus.requested)) == ([402, 402], 1)


@pytest.mark.parametrize("key", ["", " ", "x" * 201, "a\tb", "sk-abcdefghijklmnop", "ключ"])
async def test_what_can_be_no_key_is_refused(key: str) -> None:
    async with Edge().client() as client:
        answer = await client.post(CHAT, json=BODY, headers={b"idempotency-key": key.encode()})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")


def test_requests_differ_by_path_flow_and_every_byte() -> None:
    told = {
        request_sha256(path, flow, body)
        for path in ("/a", "/b")
        for flow in (None, "x")
        for body in (b"{}", b"{ }")
    }
    assert len(told) == 8
