import asyncio

import pytest

from shared.runtime.batcher import Batcher

pytestmark = pytest.mark.unit


async def test_items_go_together_and_each_caller_gets_its_own_result() -> None:
    batches: list[list[int]] = []

    async def double(items: list[int]) -> list[int]:
        batches.append(items)
        return [item * 2 for item in items]

    batcher = Batcher(double, size=3, linger_ms=20)
    assert await asyncio.gather(*map(batcher.submit, range(7))) == [0, 2, 4, 6, 8, 10, 12]
    assert [len(batch) for batch in batches] == [3, 3, 1]


async def test_a_lone_item_waits_no_longer_than_the_linger() -> None:
    async def same(items: list[int]) -> list[int]:
        return items

    async with asyncio.timeout(1):
        assert await Batcher(same, size=500, linger_ms=1).submit(1) == 1


async def test_a_failed_batch_fails_its_callers_and_no_others() -> None:
    async def fail_on_zero(items: list[int]) -> list[int]:
        if 0 in items:
            raise ValueError("zero")
        return items

    batcher = Batcher(fail_on_zero, size=2, linger_ms=1)
    results = await asyncio.gather(*map(batcher.submit, [0, 1, 2, 3]), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError, int, int]


async def test_a_caller_that_gave_up_harms_nobody() -> None:
    async def same(items: list[int]) -> list[int]:
        return items

    batcher = Batcher(same, size=2, linger_ms=1000)
    gone = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0)
    gone.cancel()
    assert await batcher.submit(2) == 2


async def test_while_enough_batches_are_under_way_the_next_one_grows() -> None:
    sizes: list[int] = []
    gate = asyncio.Event()

    async def slow(items: list[int]) -> list[int]:
        sizes.append(len(items))
        await gate.wait()
        return items

    batcher = Batcher(slow, size=10, linger_ms=0, at_once=1)
    callers = [asyncio.create_task(batcher.submit(0))]
    while not sizes:
        await asyncio.sleep(0)
    for n in range(1, 15):
        callers.append(asyncio.create_task(batcher.submit(n)))
        await asyncio.sleep(0.001)
    gate.set()
    assert await asyncio.gather(*callers) == list(range(15))
    assert sizes == [1, 10, 4]
