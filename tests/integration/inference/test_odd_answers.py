"""The provider adapter and an address that answers what it likes: the caller's key, say."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import httpx2
import orjson
import pytest

from services.inference.adapters.http_clients import HttpClients
from services.inference.adapters.openai_provider import OpenAIProvider
from services.inference.adapters.provider_catalogue import load_providers
from services.inference.domain.operations import READINGS
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyService, KeySource, Operation
from tests.integration.inference.calls import IDLE_S, a_call, collect, failure_of

pytestmark = pytest.mark.integration


@asynccontextmanager
async def answering(
    body: str, *, status: int = 200, asked: list[httpx2.Request] | None = None
) -> AsyncIterator[OpenAIProvider]:
    """A provider that answers this, whatever it is asked. `asked`: where requests are to be found."""
    kind = "text/event-stream" if body.startswith("data:") else "application/json"

    def answer(request: httpx2.Request) -> httpx2.Response:
        if asked is not None:
            asked.append(request)
        return httpx2.Response(status, content=body.encode(), headers={"Content-Type": kind})

    specs = load_providers({KeyService.OPENAI: "http://provider.invalid/v1"})
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        yield OpenAIProvider(specs, HttpClients(http, http), idle_timeout_s=IDLE_S)


async def test_a_provider_hears_nothing_of_the_machine_that_asks() -> None:
    asked: list[httpx2.Request] = []
    async with answering('{"choices": []}', asked=asked) as provider:
        await provider.complete(a_call())

    [request] = asked
    assert sorted(request.headers) == [
        *("accept", "accept-encoding", "authorization", "connection", "content-length", "content-type"),
        *("host", "user-agent"),
    ]
    assert request.headers["user-agent"].startswith("AsyncOpenAI/Python ")


@pytest.mark.parametrize(
    ("source", "service", "is_told"),
    [
        (KeySource.USER, KeyService.OPENAI, True),
        (KeySource.REQUEST, KeyService.OPENAI, True),
        (KeySource.PLATFORM, KeyService.OPENAI, False),
        (KeySource.USER, KeyService.OPENROUTER, False),
        (KeySource.USER_GATEWAY, KeyService.GATEWAY, False),
    ],
)
async def test_which_account_is_meant_is_told_with_the_callers_own_key_for_openai(
    source: KeySource, service: KeyService, *, is_told: bool
) -> None:
    asked: list[httpx2.Request] = []
    call = replace(a_call(), openai_headers={"openai-project": "proj_1"})
    used = replace(call.key.used, source=source, service=service)
    async with answering('{"choices": []}', asked=asked) as provider:
        await provider.complete(replace(call, key=replace(call.key, used=used)))

    [request] = asked
    assert request.headers.get("openai-project") == ("proj_1" if is_told else None)


ECHO = "canary9good9key9000333"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_in_an_error_under_200_is_cut_out(*, stream: bool) -> None:
    body = f'{{"error": {{"code": 400, "message": "not with {ECHO}\\u0000"}}}}'
    async with answering(f"data: {body}\n\n" if stream else body) as provider:
        failure = await failure_of(provider, a_call(secret=ECHO), stream=stream)

    assert type(failure) is InvalidRequestError
    assert failure.message == "not with [redacted] "


async def test_an_error_holds_no_character_that_postgres_cannot_keep() -> None:
    async with answering('{"error": {"message": "a\\u0000b\\nc"}}', status=400) as provider:
        failure = await failure_of(provider, a_call(), stream=False)

    assert failure.message == "a b c"


@pytest.mark.parametrize("echo", [ECHO, ECHO.replace("c", "\\u0063")])
async def test_a_usage_object_with_the_key_in_it_is_not_kept(echo: str) -> None:
    usage = f'{{"prompt_tokens": 1, "completion_tokens": 1, "note": "{echo}"}}'
    async with answering(f'{{"choices": [], "usage": {usage}}}') as provider:
        answer = await provider.complete(a_call(secret=ECHO))

    assert answer.usage is None
    assert ECHO not in str(orjson.loads(answer.text))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("escape", ["json", "slash", "needless"])
async def test_a_key_of_odd_characters_is_cut_out_however_it_is_written(escape: str, *, stream: bool) -> None:
    key = 'canary"9\\good/9key%41'
    said = orjson.dumps(key).decode()[1:-1]
    echo = {"json": said, "slash": said.replace("/", "\\/"), "needless": said.replace("c", "\\u0063")}[escape]
    usage = f'{{"prompt_tokens": 1, "completion_tokens": 1, "{echo}": 1}}'
    message = f'{{"content": "{echo}, {said}, \\u00e8"}}'
    body = f'{{"choices": [{{"delta": {message}, "finish_reason": "stop"}}], "usage": {usage}}}'
    async with answering(f"data: {body}\n\n" if stream else body) as provider:
        call = a_call(secret=key)
        (answer,) = await collect(provider, call) if stream else [await provider.complete(call)]

    assert answer.usage is None
    assert key not in str(read := orjson.loads(answer.text)).replace("\\\\", "\\")
    assert read["choices"][0]["delta"]["content"] == "[redacted], [redacted], è"


_CHAT_END: Final = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def _chat_piece(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def _reasoned_piece(text: str) -> dict[str, Any]:
    details = [{"type": "reasoning.text", "text": text, "index": 0}]
    return {"choices": [{"index": 0, "delta": {"reasoning_details": details}, "finish_reason": None}]}


def _called_piece(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"function_call": {"arguments": text}}}]}


def _response_piece(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}


@pytest.mark.parametrize(
    ("operation", "piece", "end"),
    [
        (Operation.CHAT, _chat_piece, _CHAT_END),
        (Operation.CHAT, _reasoned_piece, _CHAT_END),
        (Operation.CHAT, _called_piece, _CHAT_END),
        (Operation.RESPONSES, _response_piece, {"type": "response.completed", "response": {}}),
    ],
    ids=["chat", "reasoning", "function", "responses"],
)
async def test_a_key_that_comes_in_pieces_is_cut_out(
    operation: Operation, piece: Callable[[str], dict[str, Any]], end: dict[str, Any]
) -> None:
    said = f"It is {ECHO}, isn't it?"
    chunks = [*(piece(said[at : at + 3]) for at in range(0, len(said), 3)), end]
    body = "".join(f"data: {orjson.dumps(chunk).decode()}\n\n" for chunk in chunks)
    async with answering(body) as provider:
        pieces = await collect(provider, replace(a_call(secret=ECHO), operation=operation))

    texts = [found.text for one in pieces for found in READINGS[operation].generated(orjson.loads(one.text))]
    assert "".join(texts) == "It is canary9go[redacted], isn't it?"


@pytest.mark.parametrize("key", ["x", '"', "EMPTY", "1"])
async def test_a_key_as_short_as_a_word_spoils_no_answer(key: str) -> None:
    body = '{"choices": [], "x": "EMPTY", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}'
    async with answering(body) as provider:
        answer = await provider.complete(a_call(secret=key))

    assert answer.text == body
    assert answer.usage is not None
