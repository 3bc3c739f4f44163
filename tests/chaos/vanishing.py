"""Clients that go away: before the stream, at its beginning, in the middle of it."""

import asyncio
import random
from typing import Final

import httpx2

from shared.contracts.topology import API_EDGE_RUNS, BILLING_USAGE, INFERENCE_RUNS
from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import House, eventually
from tests.quiet import consumers_of

_AT_ONCE: Final = 50
_MOMENTS: Final = ("before", "at", "during")
_HANG_UP_S: Final = 1.0


async def vanish(house: House, callers: list[Caller], clients: int, rng: random.Random) -> None:
    """So many clients go away; as many after them succeed, and nothing of the first is left behind."""
    before: dict[str, int] = {}

    async def are_counted() -> bool:  # the statistics come some seconds late
        before.update(await consumers_of(house.realm))
        return all(before[queue] > 0 for queue in (INFERENCE_RUNS, API_EDGE_RUNS, BILLING_USAGE))

    await eventually(are_counted, "consumers are counted")
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with turns:
            await _go_away(callers[number % len(callers)], _MOMENTS[number % 3], rng.uniform(0, 0.05))

    await asyncio.gather(*(one(number) for number in range(clients)))

    async def are_hung_up() -> bool:
        return house.calls().in_flight == 0

    await eventually(are_hung_up, "every provider is hung up on", timeout_s=_HANG_UP_S + 1)

    async def succeeds(number: int) -> None:
        async with turns:
            answer = await callers[number % len(callers)].ask("[simulate chunks=5] and now?", stream=True)
            assert answer.status_code == 200, answer.text
            assert answer.content.endswith(b"data: [DONE]\n\n")

    await asyncio.gather(*(succeeds(number) for number in range(clients)))

    async def is_as_before() -> bool:
        return await consumers_of(house.realm) == before

    await eventually(is_as_before, "the same queues and consumers as before")


async def _go_away(caller: Caller, moment: str, after_s: float) -> None:
    body = {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "user", "content": "[simulate chunks=300 chunk_ms=100] on and on"}],
    }
    headers = {"Latchkey-Flow": "deep_analysis"}
    stream = caller.http.stream("POST", "/v1/chat/completions", json=body, headers=headers)
    if moment == "before":
        asking = asyncio.create_task(_read(stream, 10**6))
        await asyncio.sleep(after_s)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    else:
        await _read(stream, 1 if moment == "at" else 5)


async def _read(stream: "object", pieces: int) -> None:
    async with stream as answer:  # type: ignore[attr-defined]
        assert isinstance(answer, httpx2.Response)
        async for _ in answer.aiter_raw():
            pieces -= 1
            if not pieces:
                return
