"""Streams that are cut and taken up again."""

import asyncio
from typing import Final

from tests.acceptance.callers import Caller
from tests.acceptance.events import id_of, some, start
from tests.acceptance.house import House

_AT_ONCE: Final = 8


async def cut_at(house: House, callers: tuple[Caller, ...], boundaries: list[int], prompt: str) -> None:
    """For each boundary: read so many events of a run at one edge, hang up, read the rest at the next.

    What was read is what an uncut reading gives, byte for byte; the provider was called once.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, boundary: int) -> str:
        first, second = callers[number % len(callers)], callers[(number + number // 2) % len(callers)]
        async with turns:
            run_id = await start(first, prompt)
            read = await some(first, run_id, None, boundary)
            read += await some(second, run_id, id_of(read[-1]), None)
            assert read == await some(first, run_id, None, None), f"cut after {boundary} events"
            return run_id

    run_ids = await asyncio.gather(*(one(*each) for each in enumerate(boundaries)))
    for run_id in run_ids:
        receipt = await house.receipt(callers[0], run_id)
        assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["completed"]


async def kill_the_edge_at(
    house: House, callers: tuple[Caller, ...], boundaries: list[int], prompt: str
) -> None:
    """For each boundary: kill the edge that is read from, and read on at the one that is started again."""
    for boundary in boundaries:
        run_id = await start(callers[0], prompt)
        read = await some(callers[0], run_id, None, boundary)
        reading = asyncio.create_task(some(callers[0], run_id, id_of(read[-1]), None))
        await asyncio.sleep(0.05)
        await house.parts["api_edge"].kill()
        read += await reading
        await house.restore()
        read += await some(callers[0], run_id, id_of(read[-1]), None)
        assert read == await some(callers[1], run_id, None, None), f"killed after {boundary} events"
