"""The real simulator process, called by the official SDK."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import openai
import pytest

from infra.simulator.control import Calls, read_calls
from tests.simulator import reset_calls, running_simulator

pytestmark = pytest.mark.integration
KEY = "sk-sim-process-0123456789"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_simulator() as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    reset_calls(url)
    async with openai.AsyncOpenAI(
        api_key=KEY, base_url=f"{url}/v1", max_retries=0, timeout=5, http_client=None
    ) as client:
        yield client


async def _chunks(client: openai.AsyncOpenAI, prompt: str) -> AsyncIterator[tuple[float, str]]:
    """Content chunks with their arrival times."""
    stream = await client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": prompt}],
        stream=True,
        stream_options={"include_usage": True},
    )
    async with stream:
        async for chunk in stream:
            content = chunk.choices[0].delta.content if chunk.choices else None
            if content:
                yield time.monotonic(), content


async def _plain(client: openai.AsyncOpenAI, prompt: str) -> str | None:
    answer = await client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": prompt}]
    )
    return answer.choices[0].message.content


async def _settled(url: str) -> Calls:
    """The counts, once nothing is in flight."""
    for _ in range(100):
        calls = read_calls(url)
        if calls.in_flight == 0:
            return calls
        await asyncio.sleep(0.02)
    raise AssertionError("calls stay in flight")


async def test_a_plain_call(client: openai.AsyncOpenAI, url: str) -> None:
    assert await _plain(client, "Hello") == "Echo: Hello"
    assert read_calls(url).with_key(KEY) == 1
    assert "gpt-4o-mini" in [model.id async for model in client.models.list()]


async def test_chunks_arrive_one_by_one(client: openai.AsyncOpenAI) -> None:
    times = [at async for at, _ in _chunks(client, "[simulate chunks=5 chunk_ms=60] Hello")]
    assert len(times) == 5
    assert times[-1] - times[0] > 0.2


async def test_the_first_token_can_be_late(client: openai.AsyncOpenAI) -> None:
    start = time.monotonic()
    times = [at async for at, _ in _chunks(client, "[simulate first_token_ms=300] Hello")]
    assert times[0] - start > 0.29


async def test_a_cut_stream_breaks_after_its_chunks(client: openai.AsyncOpenAI) -> None:
    seen: list[str] = []
    with pytest.raises(openai.APIConnectionError):
        seen.extend([piece async for _, piece in _chunks(client, "[simulate cut_after=3] Hello")])
    with pytest.raises(openai.APIConnectionError):
        await _plain(client, "[simulate cut_after=0] Hello")


async def test_a_stalled_stream_ends_when_the_client_leaves(client: openai.AsyncOpenAI, url: str) -> None:
    hasty = client.with_options(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        [piece async for _, piece in _chunks(hasty, "[simulate stall_after=3] Hello")]
    calls = await _settled(url)
    assert calls.disconnected == 1


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("[simulate status=401]", openai.AuthenticationError),
        ("[simulate status=403]", openai.PermissionDeniedError),
        ("[simulate status=429 retry_after=2]", openai.RateLimitError),
        ("[simulate status=500]", openai.InternalServerError),
    ],
)
async def test_refusals_are_the_sdks_errors(
    client: openai.AsyncOpenAI, prompt: str, error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error):
        await _plain(client, prompt)


async def test_a_hundred_calls_at_once(client: openai.AsyncOpenAI, url: str) -> None:
    prompts = [f"[simulate latency_ms=100] number {number}" for number in range(100)]
    await asyncio.gather(*(_plain(client, prompt) for prompt in prompts))
    calls = read_calls(url)
    assert calls.by_prompt == dict.fromkeys(prompts, 1)
    assert calls.in_flight == 0
