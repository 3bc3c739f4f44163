"""Responses of providers that have chats only, against the simulator's process."""

from collections.abc import AsyncIterator
from typing import Any

import httpcore2
import orjson
import pytest

from infra.simulator.control import read_calls
from services.inference.adapters.egress import PinningBackend
from services.inference.adapters.http_clients import http_clients
from services.inference.adapters.mapped_responses import MappedResponses
from services.inference.adapters.openai_provider import OpenAIProvider
from services.inference.adapters.provider_catalogue import load_providers
from services.inference.domain.failures import EndpointMissingError
from services.inference.domain.provider_usage import measured_tokens
from services.inference.ports import Piece, ProviderCall
from shared.kernel.errors import InvalidRequestError, PlatformError, ProviderError, UserApiKeyInvalidError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyService, Operation
from tests.fakes.inference import a_key
from tests.garbage import cyclic_garbage

pytestmark = pytest.mark.integration

GOOD = "sk-sim-good-0001"
CHAT_ONLY = (KeyService.ANTHROPIC, KeyService.GEMINI)


@pytest.fixture
async def provider(simulator: str) -> AsyncIterator[MappedResponses]:
    specs = load_providers(dict.fromkeys(KeyService, f"{simulator}/v1"))
    async with http_clients(16, PinningBackend(httpcore2.AnyIOBackend())) as http:
        yield MappedResponses(OpenAIProvider(specs, http, idle_timeout_s=0.5), specs)


def a_call(
    prompt: str, service: KeyService = KeyService.ANTHROPIC, *, secret: str = GOOD, **body: Any
) -> ProviderCall:
    return ProviderCall(
        a_key(secret=secret, service=service),
        f"{service}/some-model",
        {"input": prompt, **body},
        operation=Operation.RESPONSES,
        run_id=new_id(),
    )


async def pieces_of(provider: MappedResponses, call: ProviderCall) -> list[Piece]:
    return [piece async for piece in provider.stream(call)]


def is_mapped(body: dict[str, Any], call: ProviderCall) -> bool:
    assert call.run_id is not None
    return bool(body["id"] == f"resp_{call.run_id.hex}")


@pytest.mark.parametrize("service", CHAT_ONLY)
async def test_a_whole_response_is_counted_as_its_chat_is(
    provider: MappedResponses, service: KeyService
) -> None:
    call = a_call("[simulate tokens=11,22 cache=4,0] one two", service, max_output_tokens=50)
    answer = await provider.complete(call)
    body = orjson.loads(answer.text)
    assert is_mapped(body, call)
    assert body["output"][0]["content"][0]["text"] == "Echo: one two"
    assert answer.chars == len("Echo: one two")
    assert answer.usage is not None
    tokens = measured_tokens(answer.usage)
    assert tokens is not None
    assert (tokens.prompt, tokens.completion, tokens.cached) == (11, 22, 4)
    assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (11, 22)


@pytest.mark.parametrize("service", CHAT_ONLY)
async def test_a_streamed_response_is_counted_as_its_chat_is(
    provider: MappedResponses, service: KeyService
) -> None:
    pieces = await pieces_of(provider, a_call("[simulate chunks=3 tokens=11,22] one two", service))
    events = [orjson.loads(piece.text) for piece in pieces]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert sum(piece.chars for piece in pieces) == len("Echo: one two")
    assert pieces[-1].usage is not None
    assert (pieces[-1].usage["prompt_tokens"], pieces[-1].usage["completion_tokens"]) == (11, 22)
    assert events[-1]["type"] == "response.completed"


async def test_the_limit_is_the_providers(provider: MappedResponses) -> None:
    events = [
        orjson.loads(piece.text) for piece in await pieces_of(provider, a_call("a b c", max_output_tokens=2))
    ]
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_nothing_is_told_before_the_provider_says_something(provider: MappedResponses) -> None:
    stream = provider.stream(a_call("x", secret="sk-sim-bad-0001"))
    with pytest.raises(UserApiKeyInvalidError):
        await anext(stream)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_breaks_off_is_an_error(provider: MappedResponses, *, stream: bool) -> None:
    call = a_call("[simulate chunks=9 cut_after=3] x")
    with pytest.raises(ProviderError):
        await (pieces_of(provider, call) if stream else provider.complete(call))


@pytest.mark.parametrize("stream", [False, True])
async def test_who_turns_out_to_have_no_responses_is_asked_for_a_chat(
    provider: MappedResponses, simulator: str, *, stream: bool
) -> None:
    call = a_call("[simulate no_responses] x", KeyService.GATEWAY)
    with cyclic_garbage() as garbage:
        if stream:
            body = orjson.loads((await pieces_of(provider, call))[-1].text)["response"]
        else:
            body = orjson.loads((await provider.complete(call)).text)
    assert is_mapped(body, call)
    assert not [each for each in garbage if isinstance(each, EndpointMissingError)], "it would hold the call"
    assert read_calls(simulator).with_key(GOOD) == 2


async def test_who_has_them_is_passed_through(provider: MappedResponses, simulator: str) -> None:
    call = a_call("x", KeyService.GATEWAY)
    assert not is_mapped(orjson.loads((await provider.complete(call)).text), call)
    assert orjson.loads((await pieces_of(provider, call))[0].text)["type"] == "response.created"
    assert read_calls(simulator).with_key(GOOD) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("service", "said", "calls"),
    [(KeyService.GEMINI, "previous_response_id", 0), (KeyService.OPENAI, "refused with status 404", 1)],
)
async def test_what_no_chat_can_ask_for_is_not_sent(
    provider: MappedResponses, simulator: str, service: KeyService, said: str, calls: int, *, stream: bool
) -> None:
    """Who has Responses, and does not find what one names, says so itself."""
    call = a_call("[simulate no_responses] x", service, previous_response_id="resp_1")
    with pytest.raises(InvalidRequestError) as refused:
        await (pieces_of(provider, call) if stream else provider.complete(call))
    assert said in refused.value.message
    assert refused.value.service == service
    assert read_calls(simulator).with_key(GOOD) == calls


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.EMBEDDINGS])
async def test_other_endpoints_are_left_alone(provider: MappedResponses, operation: Operation) -> None:
    body = {"input": "x", "messages": [{"role": "user", "content": "x"}]}
    call = ProviderCall(a_key(secret=GOOD), "openai/m", body, operation=operation)
    assert "response" not in orjson.loads((await provider.complete(call)).text)


async def test_a_key_that_comes_in_pieces_is_cut_out_of_the_whole(provider: MappedResponses) -> None:
    """The simulator says the prompt, a word a piece."""
    secret = "canary nine keys"
    pieces = await pieces_of(provider, a_call(f"x {secret} y", secret=secret))
    assert "canary" in "".join(piece.text for piece in pieces)
    assert not any(secret in piece.text for piece in pieces)


async def test_a_failure_before_the_answer_is_the_providers(provider: MappedResponses) -> None:
    with pytest.raises(PlatformError) as failed:
        await provider.complete(a_call("[simulate status=500] x"))
    assert failed.value.code == "provider_error"
