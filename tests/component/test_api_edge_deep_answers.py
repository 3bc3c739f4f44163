"""Answers that can be read and not be written again: orjson reads 1024 levels of JSON, and writes 254."""

from collections.abc import Callable

import httpx2
import orjson
import pytest

from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import Tell, Worker

pytestmark = pytest.mark.component

MESSAGES = [{"role": "user", "content": "hello"}]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def says_in_pieces(depth: int) -> Worker:
    async def worker(tell: Tell) -> None:
        tell.started()
        tell.chunk('{"choices":[{"index":0,"delta":{"tool_calls":' + nested(depth) + "}}]}")
        tell.completed()

    return worker


def says(depth: int, member: str = "x") -> Worker:
    async def worker(tell: Tell) -> None:
        tell.started()
        content = orjson.dumps(f'{{"a":{nested(depth)}}}').decode()
        message = f'{{"role":"assistant","content":{content},"tool_calls":{nested(depth)}}}'
        tell.completed(f'{{"choices":[{{"message":{message}}}],"{member}":1}}')

    return worker


async def run(client: httpx2.AsyncClient, kind: str) -> str:
    answer = await client.post("/api/runs", json={"kind": kind, "messages": MESSAGES})
    return f"/api/runs/{answer.json()['run_id']}"


@pytest.mark.parametrize(("kind", "worker"), [("stream", says_in_pieces), ("text", says), ("json", says)])
@pytest.mark.parametrize("depth", [250, 1000, 1100])
async def test_what_is_too_deep_is_an_error_of_the_provider(
    kind: str, worker: Callable[[int], Worker], depth: int
) -> None:
    edge = Edge()
    edge.bus.worker = worker(depth)
    async with edge.client() as client:
        path = await run(client, kind)
        told, view = await client.get(f"{path}/events"), await client.get(path)
    assert (told.status_code, view.status_code) == (200, 200)
    assert "event: error\n" in told.text
    assert view.json()["error"]["code"] == "provider_error"


@pytest.mark.parametrize("depth", [1, 150])
async def test_what_is_not_too_deep_is_told(depth: int) -> None:
    edge = Edge()
    edge.bus.worker = says(depth)
    async with edge.client() as client:
        path = await run(client, "json")
        await client.get(f"{path}/events")
        view = (await client.get(path)).json()
    assert view["response"] == {"a": orjson.loads(nested(depth))}


async def test_an_answer_with_a_member_of_ours_is_an_error_when_it_is_too_deep() -> None:
    edge = Edge()
    edge.bus.worker = says(300, member="latchkey")
    async with edge.client() as client:
        answer = await client.post("/v1/chat/completions", json={"messages": MESSAGES})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_error")
