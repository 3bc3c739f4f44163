"""Streams: first chunk at once, OpenAI's framing, errors in the middle, clients that go away."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx2
import openai
import orjson
import pytest

from services.api_edge.domain.run_times import RunTimes
from shared.kernel.errors import ProviderError, SystemKeyExhaustedError
from shared.kernel.names import KeySource
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import RESPONSE, Tell, chunk, is_silent, key_use

pytestmark = pytest.mark.component

ASK = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
USAGE = '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'


class Exchange:
    """One request by hand, so that a test sees each message as it leaves and can go away."""

    def __init__(self, edge: Edge, body: dict[str, Any]) -> None:
        self.sent: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._requests = [{"type": "http.request", "body": orjson.dumps(body), "more_body": False}]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer lk_alice")],
        }
        self.task = asyncio.ensure_future(edge.app(scope, self._receive, self.sent.put))

    def go_away(self) -> None:
        self._gone.set()

    async def _receive(self) -> MutableMapping[str, Any]:
        if self._requests:
            return self._requests.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}


async def test_a_stream_is_openais_bytes() -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post("/v1/chat/completions", json={**ASK, "stream": True})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in answer.headers
    assert answer.headers["latchkey-run-id"] == str(edge.bus.requested[0].run_id)
    assert answer.headers["latchkey-key-source"] == "user"
    assert answer.text == f"data: {chunk('Hel')}\n\ndata: {chunk('lo')}\n\ndata: [DONE]\n\n"
    assert edge.bus.cancelled == []
    assert len(edge.waiting) == 0


async def test_the_first_chunk_leaves_while_the_rest_is_being_written() -> None:
    write_on = asyncio.Event()

    async def writes_slowly(tell: Tell) -> None:
        tell.started()
        tell.chunk(chunk("first"))
        await write_on.wait()
        tell.chunk(chunk("second"))
        tell.completed()

    edge = Edge()
    edge.bus.worker = writes_slowly
    exchange = Exchange(edge, {**ASK, "stream": True})
    assert (await exchange.sent.get())["type"] == "http.response.start"
    first = await exchange.sent.get()
    assert b"first" in first["body"]
    assert first["more_body"]
    assert exchange.sent.empty()
    write_on.set()
    await exchange.task
    assert b"second" in (await exchange.sent.get())["body"]


async def test_nothing_is_sent_before_the_first_chunk() -> None:
    async def only_starts(tell: Tell) -> None:
        tell.started()

    edge = Edge()
    edge.bus.worker = only_starts
    exchange = Exchange(edge, {**ASK, "stream": True})
    while not edge.bus.requested:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert exchange.sent.empty()
    exchange.go_away()
    await exchange.task


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_cancels_its_run(*, stream: bool) -> None:
    edge = Edge()
    edge.bus.worker = is_silent
    exchange = Exchange(edge, {**ASK, "stream": stream})
    while not edge.bus.requested:
        await asyncio.sleep(0)
    exchange.go_away()
    await asyncio.wait_for(exchange.task, 1)
    assert edge.bus.cancelled == [edge.bus.requested[0].run_id]
    assert len(edge.waiting) == 0


async def test_a_client_that_goes_away_in_the_middle_cancels_its_run() -> None:
    async def stalls(tell: Tell) -> None:
        tell.started()
        tell.chunk(chunk("first"))

    edge = Edge()
    edge.bus.worker = stalls
    exchange = Exchange(edge, {**ASK, "stream": True})
    for _ in range(2):
        await exchange.sent.get()
    exchange.go_away()
    await asyncio.wait_for(exchange.task, 1)
    assert edge.bus.cancelled == [edge.bus.requested[0].run_id]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_shuts_down_cancels_its_runs_and_says_so(*, stream: bool) -> None:
    """Otherwise it is uvicorn that answers whoever still waits, with a bare 500."""
    edge = Edge()
    edge.bus.worker = is_silent
    exchange = Exchange(edge, {**ASK, "stream": stream})
    while not edge.bus.requested:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    exchange.task.cancel()
    await exchange.task
    start, body = exchange.sent.get_nowait(), exchange.sent.get_nowait()
    assert start["status"] == 503
    assert (b"retry-after", b"2") in start["headers"]
    assert orjson.loads(body["body"])["error"]["code"] == "service_unavailable"
    assert edge.bus.cancelled == [edge.bus.requested[0].run_id]
    assert len(edge.waiting) == 0


async def test_an_error_in_the_middle_is_an_event_and_no_done() -> None:
    async def breaks(tell: Tell) -> None:
        tell.started()
        tell.chunk(chunk("first"))
        tell.failed(ProviderError("the stream was cut", service="openai"))

    edge = Edge()
    edge.bus.worker = breaks
    async with edge.client(headers={"accept-language": "it"}) as client:
        answer = await client.post("/v1/chat/completions", json={**ASK, "stream": True})
    *_, last = answer.text.strip().split("\n\n")
    error = orjson.loads(last.removeprefix("data: "))["error"]
    assert answer.status_code == 200
    assert "[DONE]" not in answer.text
    assert (error["code"], error["service"], error["detail"]) == (
        "provider_error",
        "openai",
        "the stream was cut",
    )
    assert error["message"].startswith("Il fornitore")
    assert error["run_id"] == str(edge.bus.requested[0].run_id)


async def test_exhausted_platform_keys_in_the_middle_are_an_event_by_name() -> None:
    async def runs_dry(tell: Tell) -> None:
        tell.started(KeySource.PLATFORM)
        tell.chunk(chunk("first"))
        tell.failed(SystemKeyExhaustedError(service="openrouter", detail="OPENROUTER_SYSTEM_KEY_EXHAUSTED"))

    edge = Edge()
    edge.bus.worker = runs_dry
    async with edge.client() as client:
        answer = await client.post("/v1/chat/completions", json={**ASK, "stream": True})
    *_, last = answer.text.strip().split("\n\n")
    error = orjson.loads(last.removeprefix("data: "))["error"]
    assert (error["code"], error["detail"]) == ("system_key_exhausted", "OPENROUTER_SYSTEM_KEY_EXHAUSTED")
    assert (error["service"], error["type"]) == ("openrouter", "server_error")
    assert "[DONE]" not in answer.text


async def test_a_deadline_in_the_middle_is_an_event_too() -> None:
    async def stalls(tell: Tell) -> None:
        tell.started()
        tell.chunk(chunk("first"))

    edge = Edge(times=RunTimes(start_s=5, run_s=0.5))
    edge.bus.worker = stalls
    async with edge.client() as client:
        answer = await client.post("/v1/chat/completions", json={**ASK, "stream": True})
    assert '"code":"provider_timeout"' in answer.text
    assert len(edge.bus.cancelled) == 1


@pytest.mark.parametrize(("asked", "told"), [(True, True), (False, False)])
async def test_usage_goes_to_those_who_asked(*, asked: bool, told: bool) -> None:
    async def counts(tell: Tell) -> None:
        tell.started()
        tell.chunk(chunk("first"))
        tell.chunk(USAGE)
        tell.completed(uses=(key_use(),))

    edge = Edge()
    edge.bus.worker = counts
    body = {**ASK, "stream": True, "stream_options": {"include_usage": asked}}
    async with edge.client() as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert (USAGE[:-1] in answer.text) == told
    assert ("apiKeyUsageLog" in answer.text) == told
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "stream_options" not in edge.bus.requested[0].body


async def test_the_usage_chunk_is_the_last_and_tells_which_keys_were_used() -> None:
    async def counts_early(tell: Tell) -> None:
        tell.started()
        tell.chunk(chunk("first"), USAGE, chunk("last"))
        tell.completed(uses=(key_use(),))

    edge = Edge()
    edge.bus.worker = counts_early
    async with _sdk(edge) as sdk:
        stream = await sdk.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "x"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        *pieces, end = [piece async for piece in stream]
    assert [piece.choices[0].delta.content for piece in pieces] == ["first", "last"]
    assert end.choices == []
    assert end.usage is not None
    assert end.usage.total_tokens == 3
    told = end.model_dump()["latchkey"]
    assert told["run_id"] == str(edge.bus.requested[0].run_id)
    assert [entry["key_source"] for entry in told["apiKeyUsageLog"]] == ["user"]
    assert told["apiKeyUsageSummary"]["total"] == 1


async def test_usage_told_before_an_error_is_not_lost() -> None:
    async def counts_and_breaks(tell: Tell) -> None:
        tell.started()
        tell.chunk(chunk("first"), USAGE)
        tell.failed(ProviderError("cut"))

    edge = Edge()
    edge.bus.worker = counts_and_breaks
    body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    async with edge.client() as client:
        answer = await client.post("/v1/chat/completions", json=body)
    first, usage, error = answer.text.strip().split("\n\n")
    assert first == f"data: {chunk('first')}"
    assert usage == f"data: {USAGE}"
    assert "provider_error" in error


async def test_of_several_usage_chunks_the_last_counts() -> None:
    async def counts_twice(tell: Tell) -> None:
        tell.started()
        tell.chunk(USAGE.replace("3}", "2}"))
        tell.chunk(USAGE)
        tell.completed()

    edge = Edge()
    edge.bus.worker = counts_twice
    body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    async with edge.client() as client:
        answer = await client.post("/v1/chat/completions", json=body)
    only, done = answer.text.strip().split("\n\n")
    assert orjson.loads(only.removeprefix("data: "))["usage"]["total_tokens"] == 3
    assert done == "data: [DONE]"


async def test_a_stream_without_chunks_is_still_a_stream() -> None:
    async def says_nothing(tell: Tell) -> None:
        tell.started()
        tell.completed()

    edge = Edge()
    edge.bus.worker = says_nothing
    async with edge.client() as client:
        answer = await client.post("/v1/chat/completions", json={**ASK, "stream": True})
    assert (answer.status_code, answer.text) == (200, "data: [DONE]\n\n")


def _sdk(edge: Edge) -> openai.AsyncOpenAI:
    transport = httpx2.ASGITransport(edge.app, raise_app_exceptions=False)
    http = httpx2.AsyncClient(transport=transport)
    return openai.AsyncOpenAI(api_key="lk_alice", base_url="http://edge/v1", http_client=http, max_retries=0)


async def test_the_official_sdk_reads_both_kinds() -> None:
    edge = Edge()
    async with _sdk(edge) as sdk:
        plain = await sdk.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}]
        )
        stream = await sdk.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}], stream=True
        )
        pieces = [piece.choices[0].delta.content async for piece in stream]
    assert plain.choices[0].message.content == "Hi"
    told = plain.model_dump(exclude_unset=True)
    assert told.pop("latchkey")["run_id"] == str(edge.bus.requested[0].run_id)
    assert told == orjson.loads(RESPONSE)
    assert pieces == ["Hel", "lo"]


async def test_the_official_sdk_raises_what_is_wrong() -> None:
    async def breaks(tell: Tell) -> None:
        tell.started()
        tell.chunk(chunk("first"))
        tell.failed(ProviderError("cut"))

    edge = Edge()
    edge.bus.worker = breaks
    async with _sdk(edge) as sdk:
        with pytest.raises(openai.NotFoundError) as refusal:
            await sdk.chat.completions.create(model="nope", messages=[{"role": "user", "content": "x"}])
        stream = await sdk.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(openai.APIError) as cut:
            _ = [piece async for piece in stream]
    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")
    assert cut.value.code == "provider_error"


async def test_the_official_sdk_lists_models() -> None:
    async with _sdk(Edge()) as sdk:
        listed = [model.id async for model in sdk.models.list()]
        one = await sdk.models.retrieve("openai/gpt-4o-mini")
        assert (await sdk.models.retrieve("gpt-4o-mini")).id == one.id
        with pytest.raises(openai.NotFoundError):
            await sdk.models.retrieve("openai/gpt-99")
    assert "openai/gpt-4o-mini" in listed
    assert one.owned_by == "openai"
