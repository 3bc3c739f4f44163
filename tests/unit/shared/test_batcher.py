import asyncio
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar

import pytest

from shared.kernel.errors import DatabaseUnavailableError
from shared.runtime.batcher import Batcher
from tests.garbage import cyclic_garbage

pytestmark = pytest.mark.unit


class Item:
    pass


_LONG_MS = 10_000.0


class Handler:
    """Handles a batch once `gate` is open, and remembers its size."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: list[int]) -> list[int]:
        self.sizes.append(len(items))
        await self.gate.wait()
        if 0 in items:
            raise ValueError("zero")
        return [item * 2 for item in items]


async def _all(batcher: Batcher[int, int], items: Iterable[int]) -> list[int | BaseException]:
    return await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)


async def test_items_go_together_and_each_caller_gets_its_own_result() -> None:
    handler = Handler()
    assert await _all(Batcher(handler, size=3), range(1, 8)) == [2, 4, 6, 8, 10, 12, 14]
    assert handler.sizes == [3, 3, 1]


async def test_who_comes_alone_waits_for_nobody() -> None:
    handler = Handler()
    batcher = Batcher(handler, linger_ms=_LONG_MS)
    async with asyncio.timeout(1):
        assert [await batcher.submit(n) for n in (1, 2, 3)] == [2, 4, 6]
    assert handler.sizes == [1, 1, 1]


async def test_after_a_batch_of_several_one_waits_for_as_many() -> None:
    handler = Handler()
    batcher = Batcher(handler, linger_ms=_LONG_MS)
    await _all(batcher, (1, 2))
    first = asyncio.create_task(batcher.submit(3))
    await asyncio.sleep(0.02)
    assert handler.sizes == [2]
    async with asyncio.timeout(1):
        assert (await batcher.submit(4), await first) == (8, 6)
    assert handler.sizes == [2, 2]


async def test_who_waits_in_vain_waits_no_longer_than_the_linger() -> None:
    handler = Handler()
    batcher = Batcher(handler, linger_ms=20)
    await _all(batcher, (1, 2))
    async with asyncio.timeout(1):
        assert [await batcher.submit(3), await batcher.submit(4)] == [6, 8]
    assert handler.sizes == [2, 1, 1]


async def test_a_failed_batch_fails_its_callers_and_no_others() -> None:
    results = await _all(Batcher(Handler(), size=2), [0, 1, 2, 3])
    assert [type(result) for result in results] == [ValueError, ValueError, int, int]


async def test_a_caller_that_gave_up_harms_nobody_and_is_left_out() -> None:
    handler = Handler()
    batcher = Batcher(handler, linger_ms=20)
    await _all(batcher, (1, 2))
    gone = asyncio.create_task(batcher.submit(3))
    await asyncio.sleep(0)
    gone.cancel()
    assert await batcher.submit(4) == 8
    assert handler.sizes == [2, 1]


async def test_one_batch_that_hangs_holds_up_nobody_and_while_two_are_under_way_the_next_one_grows() -> None:
    handler = Handler()
    handler.gate.clear()
    batcher = Batcher(handler, size=10)
    callers = []
    for n in range(1, 17):
        callers.append(asyncio.create_task(batcher.submit(n)))
        await asyncio.sleep(0.001)
    assert handler.sizes == [1, 1]
    handler.gate.set()
    assert await asyncio.gather(*callers) == [2 * n for n in range(1, 17)]
    assert sorted(handler.sizes) == [1, 1, 4, 10]


async def test_an_item_may_have_an_error_of_its_own() -> None:
    async def refuse_odd(items: list[int]) -> list[int | Exception]:
        return [ValueError("odd") if item % 2 else item for item in items]

    results = await _all(Batcher(refuse_odd), (1, 2, 3, 4))
    assert [type(result) for result in results] == [ValueError, int, ValueError, int]


async def test_an_error_of_ours_that_many_get_is_each_ones_own() -> None:
    async def away(_: list[int]) -> list[int]:
        raise DatabaseUnavailableError(retry_after_s=2)

    one, other = await _all(Batcher(away), (1, 2))
    assert isinstance(one, DatabaseUnavailableError)
    assert isinstance(other, DatabaseUnavailableError)
    assert (one.retry_after_s, other.retry_after_s) == (2, 2)
    assert one is not other


async def test_a_batch_is_in_no_callers_context() -> None:
    whose = ContextVar("whose", default="nobody's")
    seen: list[str] = []

    async def look(items: list[int]) -> list[int]:
        seen.append(whose.get())
        return items

    batcher = Batcher(look)
    whose.set("mine")
    assert await batcher.submit(1) == 1
    assert seen == ["nobody's"]


async def test_a_handler_that_miscounts_leaves_nobody_waiting() -> None:
    async def forget(items: list[int]) -> list[int]:
        return items[1:]

    results = await _all(Batcher(forget), (1, 2))
    assert [type(result) for result in results] == [ValueError, ValueError]


@pytest.mark.parametrize("whole", [True, False])
async def test_what_fails_does_not_wait_for_the_garbage_collection(whole: bool) -> None:  # noqa: FBT001
    async def refuse(items: list[Item]) -> list[Exception]:
        if whole:
            raise DatabaseUnavailableError
        return [DatabaseUnavailableError() for _ in items]

    batcher = Batcher[Item, None](refuse)
    with cyclic_garbage() as garbage:
        for _ in range(3):
            with suppress(DatabaseUnavailableError):
                await batcher.submit(Item())
        await asyncio.sleep(0)
    assert not [each for each in garbage if isinstance(each, Item | DatabaseUnavailableError)]
