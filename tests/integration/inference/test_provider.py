"""The provider adapter against the simulator's process."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import httpcore2
import pytest

from infra.simulator.control import read_calls
from services.inference.adapters.egress import PinningBackend
from services.inference.adapters.http_clients import HttpClients, http_clients
from services.inference.adapters.openai_provider import OpenAIProvider
from services.inference.adapters.provider_catalogue import load_providers
from services.inference.adapters.provider_errors import quotable
from services.inference.domain.failures import NotAllowedError
from services.inference.domain.provider_usage import measured_tokens
from services.inference.domain.refusals import Refusal
from services.inference.ports import ProviderCall
from shared.kernel.errors import (
    InternalError,
    InvalidRequestError,
    PlatformError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    Refused,
    SystemKeyExhaustedError,
    UserApiKeyExhaustedError,
    UserApiKeyInvalidError,
)
from shared.kernel.names import KeyService, KeySource
from tests.fakes.inference import CANARY, PLATFORM, a_key
from tests.integration.inference.calls import GOOD, IDLE_S, a_call, collect, failure_of
from tests.loopback import http_client

pytestmark = pytest.mark.integration


@pytest.fixture
async def provider(simulator: str) -> AsyncIterator[OpenAIProvider]:
    specs = load_providers({KeyService.OPENAI: f"{simulator}/v1"})
    async with http_clients(16, PinningBackend(httpcore2.AnyIOBackend())) as http:
        yield OpenAIProvider(specs, http, idle_timeout_s=IDLE_S)


async def test_a_plain_answer_comes_whole_with_its_usage(provider: OpenAIProvider, simulator: str) -> None:
    answer = await provider.complete(a_call("[simulate tokens=11,22] hello there"))

    assert '"content":"Echo: hello there"' in answer.text
    assert answer.usage is not None
    assert (answer.usage["prompt_tokens"], answer.usage["completion_tokens"]) == (11, 22)
    assert answer.chars == len("Echo: hello there")
    assert read_calls(simulator).with_key(GOOD) == 1


async def test_a_stream_comes_in_pieces_with_usage_at_the_end(provider: OpenAIProvider) -> None:
    pieces = await collect(provider, a_call("[simulate chunks=5 tokens=11,22] hello there"))

    assert len(pieces) == 8  # role, five of content, finish, usage
    assert all("chat.completion.chunk" in piece.text for piece in pieces)
    assert [piece.usage for piece in pieces[:-1]] == [None] * 7
    assert pieces[-1].usage is not None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", ["hello", "[simulate status=500]", "[simulate cut_after=2 chunks=6]"])
async def test_the_providers_name_for_a_call_is_told_also_when_it_fails(
    provider: OpenAIProvider, prompt: str, *, stream: bool
) -> None:
    names: list[str] = []
    call = a_call(prompt, names=names)

    if prompt == "hello":
        await (collect(provider, call) if stream else provider.complete(call))
    else:
        await failure_of(provider, call, stream=stream)

    [name] = names
    assert name.startswith("req_")


async def test_it_is_told_that_the_request_goes_out(provider: OpenAIProvider) -> None:
    sent: list[str] = []

    await provider.complete(replace(a_call(), on_sent=lambda: sent.append("ours")))
    own = replace(a_call(base_url="https://gateway.invalid/v1"), on_sent=lambda: sent.append("one's own"))
    await failure_of(provider, own, stream=False)  # there is no such host

    assert sent == ["ours", "one's own"]


async def test_what_the_cache_had_and_got_is_measured(provider: OpenAIProvider) -> None:
    answer = await provider.complete(a_call("[simulate tokens=700,5 cache=400,200]"))

    assert answer.usage is not None
    tokens = measured_tokens(answer.usage)
    assert tokens is not None
    assert (tokens.prompt, tokens.cached, tokens.cache_write) == (700, 400, 200)


async def test_the_first_piece_comes_while_the_provider_still_sends(provider: OpenAIProvider) -> None:
    began = time.monotonic()
    stream = provider.stream(a_call("[simulate chunks=4 chunk_ms=100] hello"))
    arrivals = [time.monotonic() - began async for _ in stream]

    assert arrivals[0] < 0.1
    assert arrivals[-1] > 0.3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("[simulate status=400]", InvalidRequestError),
        ("[simulate status=422]", InvalidRequestError),
        ("[simulate status=500]", ProviderError),
        ("[simulate status=503]", ProviderError),
        ("[simulate status=429 retry_after=2]", ProviderRateLimitedError),
        ("[simulate redirect]", ProviderError),
        ("[simulate garbage]", ProviderError),
        ("[simulate cut_after=2 chunks=6]", ProviderError),
    ],
)
async def test_each_way_to_fail(
    provider: OpenAIProvider, simulator: str, prompt: str, expected: type[PlatformError], *, stream: bool
) -> None:
    failure = await failure_of(provider, a_call(prompt), stream=stream)

    assert type(failure) is expected
    calls = read_calls(simulator)
    assert (calls.chat, calls.redirected) == (1, 0)


async def test_a_rate_limit_says_when_to_come_back(provider: OpenAIProvider) -> None:
    failure = await failure_of(provider, a_call("[simulate status=429 retry_after=7]"), stream=False)

    assert failure.retry_after_s == 7


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bad", UserApiKeyInvalidError),
        ("forbidden", NotAllowedError),
        ("broke", UserApiKeyExhaustedError),
    ],
)
async def test_a_refused_key_is_named_by_no_error(
    provider: OpenAIProvider, kind: str, expected: type[PlatformError], *, stream: bool
) -> None:
    secret = f"canary-{kind}-000111222"

    failure = await failure_of(provider, a_call(secret=secret), stream=stream)

    assert type(failure) is expected
    shown = f"{failure!r} {failure.message} {failure.detail} {failure.args} {vars(failure)}"
    assert secret not in shown
    assert failure.__cause__ is None
    assert failure.__suppress_context__


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ("revoked", UserApiKeyInvalidError),
        ("expired", UserApiKeyInvalidError),
        ("spent", UserApiKeyExhaustedError),
        ("limited", ProviderRateLimitedError),
    ],
)
async def test_a_key_that_fails_in_chat(
    provider: OpenAIProvider, mark: str, expected: type[PlatformError]
) -> None:
    failure = await failure_of(provider, a_call(secret=f"sk-sim-{mark}-1"), stream=False)

    assert type(failure) is expected


async def test_the_team_gateways_address_is_called_as_its_operators_wrote_it(
    provider: OpenAIProvider, simulator: str
) -> None:
    key = a_key(source=KeySource.TEAM_GATEWAY, service=KeyService.GATEWAY, base_url=f"{simulator}/v1")
    body = {"messages": [{"role": "user", "content": "hello"}]}

    answer = await provider.complete(ProviderCall(key, "gemini/gemini-2.5-flash", body))

    assert '"model":"google/gemini-2.5-flash"' in answer.text
    assert read_calls(simulator).with_key(CANARY) == 1


@pytest.mark.parametrize("service", list(KeyService))
async def test_a_platform_key_goes_to_no_address_that_comes_with_it(
    provider: OpenAIProvider, simulator: str, service: KeyService
) -> None:
    key = a_key(source=PLATFORM, service=service, base_url=f"{simulator}/v1")

    failure = await failure_of(provider, ProviderCall(key, "openai/gpt-4o-mini", {}), stream=False)

    assert type(failure) is InternalError
    assert read_calls(simulator).chat == 0


async def test_a_refused_platform_key_is_the_platforms_trouble(provider: OpenAIProvider) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}]}
    key = a_key("platform:openai", PLATFORM, secret="sk-sim-bad-1")

    failure = await failure_of(provider, ProviderCall(key, "openai/gpt-4o-mini", body), stream=False)

    assert type(failure) is SystemKeyExhaustedError


async def test_an_unknown_model_is_an_invalid_request_in_the_providers_words(
    provider: OpenAIProvider,
) -> None:
    call = ProviderCall(
        a_key(secret=GOOD), "openai/no-such", {"messages": [{"role": "user", "content": "x"}]}
    )

    failure = await failure_of(provider, call, stream=False)

    assert type(failure) is InvalidRequestError
    assert "no-such" in failure.message
    assert failure.refused == Refused(404, "model_not_found")


async def test_a_key_in_the_providers_words_is_cut_out(provider: OpenAIProvider) -> None:
    """The simulator quotes an unknown directive."""
    secret = "canary9good9key9000111"

    failure = await failure_of(provider, a_call(f"[simulate {secret}=1]", secret=secret), stream=False)

    assert type(failure) is InvalidRequestError
    assert "[redacted]" in failure.message
    assert secret not in failure.message


def test_a_key_in_place_of_a_code_or_a_parameter_is_left_out() -> None:
    secret = "canary9good9key9000333"
    refusal = Refusal(400, code=f"no-{secret}", param=secret, message="no")

    quoted = quotable(refusal, a_call("hi", secret=secret))

    assert quoted == Refusal(400, message="no")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_in_an_answer_is_cut_out(provider: OpenAIProvider, *, stream: bool) -> None:
    secret = "canary9good9key9000222"
    call = a_call(f"say {secret} again", secret=secret)

    pieces = await collect(provider, call) if stream else [await provider.complete(call)]

    text = "".join(piece.text for piece in pieces)
    assert secret not in text
    assert "[redacted]" in text


async def test_a_stalled_stream_times_out(provider: OpenAIProvider) -> None:
    began = time.monotonic()

    failure = await failure_of(provider, a_call("[simulate stall_after=2 chunks=6]"), stream=True)

    assert type(failure) is ProviderTimeoutError
    assert time.monotonic() - began < 3 * IDLE_S


async def test_a_plain_answer_may_take_longer_than_a_stream_may_pause(provider: OpenAIProvider) -> None:
    answer = await provider.complete(a_call("[simulate latency_ms=700] hello"))

    assert answer.usage is not None


async def test_no_usage_is_none(provider: OpenAIProvider) -> None:
    plain = await provider.complete(a_call("[simulate no_usage] hello"))
    pieces = await collect(provider, a_call("[simulate no_usage] hello"))

    assert [piece.usage for piece in [plain, *pieces]] == [None] * (len(pieces) + 1)


async def test_leaving_a_stream_hangs_up(provider: OpenAIProvider, simulator: str) -> None:
    stream = provider.stream(a_call("[simulate chunks=50 chunk_ms=50]"))
    await anext(stream)

    await stream.aclose()

    async with asyncio.timeout(3):
        while read_calls(simulator).disconnected == 0:
            await asyncio.sleep(0.02)


async def test_nobodys_key_goes_with_anothers_request(provider: OpenAIProvider, simulator: str) -> None:
    secrets = [f"sk-sim-good-{n:04}" for n in range(20)]

    await asyncio.gather(
        *(provider.complete(a_call(secret=secret)) for secret in secrets),
        *(collect(provider, a_call(secret=secret)) for secret in secrets),
    )

    calls = read_calls(simulator)
    assert {calls.with_key(secret) for secret in secrets} == {2}


async def test_a_provider_that_is_not_there_is_an_error() -> None:
    async with http_client() as http:
        specs = load_providers({KeyService.OPENAI: "http://127.0.0.1:1/v1"})
        nowhere = OpenAIProvider(specs, HttpClients(http, http), idle_timeout_s=1)

        assert type(await failure_of(nowhere, a_call(), stream=False)) is ProviderError


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "base_url", ["https://127.0.0.1/v1", "https://localhost/v1", "http://example.com/v1"]
)
async def test_a_callers_address_is_guarded(
    provider: OpenAIProvider, simulator: str, base_url: str, *, stream: bool
) -> None:
    for address in (base_url, f"{simulator}/v1"):
        failure = await failure_of(provider, a_call(base_url=address), stream=stream)
        assert type(failure) is InvalidRequestError

    assert read_calls(simulator).chat == 0
