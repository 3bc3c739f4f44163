"""The official `openai` SDK against the edge."""

import time

import openai
import pytest

from tests.acceptance.callers import MODEL
from tests.acceptance.house import House

pytestmark = pytest.mark.acceptance

SLOW = "[simulate chunks=10 chunk_ms=100]"


async def test_a_plain_completion(house: House) -> None:
    caller = await house.caller()
    await caller.store_key("sk-sim-plain-4c1d90aa17e2")

    answer = await caller.sdk.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say good morning"}]
    )

    assert answer._request_id is not None
    await house.receipt(caller, answer._request_id)
    assert answer.choices[0].message.content == "Echo: Say good morning"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0


async def test_a_streamed_completion_arrives_while_the_provider_still_sends(house: House) -> None:
    caller = await house.caller()
    await caller.store_key("sk-sim-stream-77b0e1c2d3f4")
    in_flight: list[int] = []
    arrived: list[float] = []

    async with await caller.sdk.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": f"{SLOW} Tell me a story"}], stream=True
    ) as stream:
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                arrived.append(time.monotonic())
                if len(arrived) == 1:
                    in_flight.append(house.calls().in_flight)

    assert in_flight == [1]
    assert len(arrived) >= 5
    assert arrived[-1] - arrived[0] > 0.5


async def test_a_run_that_may_have_been_paid_is_not_repeated_by_the_client(house: House) -> None:
    caller = await house.caller()
    await caller.store_key(key := "sk-sim-patience-77b0e1c2d3f4")
    insisting = caller.sdk.with_options(max_retries=2)

    with pytest.raises(openai.InternalServerError) as timed_out:
        await insisting.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "[simulate latency_ms=5000] Hi"}],
            extra_headers={"Latchkey-Timeout": "1"},
        )

    assert timed_out.value.code == "provider_timeout"
    assert house.calls().with_key(key) == 1
    receipt = await house.receipt(caller, str(timed_out.value.request_id))
    assert [attempt["error_code"] for attempt in receipt["attempts"]] == ["provider_timeout"]


async def test_one_that_was_not_begun_is_asked_again(house: House) -> None:
    caller = await house.caller()
    await caller.store_key(key := "sk-sim-limited-once-1c2d3f4")
    insisting = caller.sdk.with_options(max_retries=1)

    with pytest.raises(openai.RateLimitError):
        await insisting.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "[simulate status=429 retry_after=1] Hi"}],
        )

    assert house.calls().with_key(key) == 2
