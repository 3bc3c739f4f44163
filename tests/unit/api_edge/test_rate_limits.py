"""Rates, by the library: who is over is told, and nobody else."""

import asyncio
from collections import UserDict
from collections.abc import KeysView
from typing import cast

import pytest
from limits.aio.storage import MemoryStorage

from services.api_edge.adapters.rate_limits import SlidingWindows
from services.api_edge.domain.allowance import Limited
from services.api_edge.domain.errors import OverLimitError

pytestmark = pytest.mark.unit


async def test_so_many_a_minute_of_each_kind_and_user() -> None:
    rates = SlidingWindows({Limited.RUNS: 3, Limited.REQUESTS: 0})
    left = [await rates.hit(Limited.RUNS, "alice") for _ in range(3)]
    assert [allowance and allowance.remaining for allowance in left] == [2, 1, 0]
    with pytest.raises(OverLimitError) as refused:
        await rates.hit(Limited.RUNS, "alice")
    assert refused.value.allowance is not None
    assert 0 < refused.value.allowance.reset_s <= 60
    assert (refused.value.retry_after_s or 0) >= 1
    assert await rates.hit(Limited.RUNS, "bob") is not None
    assert await rates.hit(Limited.REQUESTS, "alice") is None


class Windows(UserDict[str, float]):
    """Counts how often somebody looks through them all."""

    looks = 0

    def keys(self) -> KeysView[str]:
        self.looks += 1
        return super().keys()


async def test_what_is_over_is_looked_for_now_and_then_not_with_each_hit() -> None:
    storage = MemoryStorage()
    windows = Windows()
    storage.expirations = cast("dict[str, float]", windows)
    rates = SlidingWindows({Limited.RUNS: 100}, storage, look_every_s=0.05)
    for _ in range(20):
        await rates.hit(Limited.RUNS, "alice")
        await asyncio.sleep(0)
    assert windows.looks == 1
    await asyncio.sleep(0.1)
    await rates.hit(Limited.RUNS, "alice")
    await asyncio.sleep(0)
    assert windows.looks == 2
