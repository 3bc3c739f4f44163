"""The official `openai` SDK against the edge."""

import time

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
