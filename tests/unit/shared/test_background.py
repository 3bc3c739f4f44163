"""Work in the background: woken, repeated, never ended by a failure."""

import asyncio

import pytest

from shared.kernel.errors import BusUnavailableError
from shared.runtime.background import Repeating, in_background

pytestmark = pytest.mark.unit


class _Rounds:
    """Counts its rounds; fails in the first."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.done = 0
        self.happened = asyncio.Event()

    async def __call__(self) -> None:
        self.done += 1
        self.happened.set()
        if self.done == 1 and self.error is not None:
            raise self.error

    async def reach(self, count: int) -> None:
        while self.done < count:
            self.happened.clear()
            await asyncio.wait_for(self.happened.wait(), 5)


async def test_it_runs_at_once_and_again_when_woken() -> None:
    rounds = _Rounds()
    job = Repeating("test", rounds, every_s=60)
    async with in_background(job):
        await rounds.reach(1)
        job.wake()
        await rounds.reach(2)


async def test_it_runs_without_being_woken() -> None:
    rounds = _Rounds()
    async with in_background(Repeating("test", rounds, every_s=0.001)):
        await rounds.reach(3)


@pytest.mark.parametrize("error", [BusUnavailableError(), RuntimeError("a bug")], ids=repr)
async def test_a_failure_does_not_end_it(error: Exception) -> None:
    rounds = _Rounds(error)
    async with in_background(Repeating("test", rounds, every_s=0.001)):
        await rounds.reach(3)


@pytest.mark.parametrize("turns", range(6))
async def test_it_ends_however_lately_it_was_woken(turns: int) -> None:
    rounds = _Rounds()
    job = Repeating("test", rounds, every_s=60)
    async with asyncio.timeout(5):
        async with in_background(job):
            await rounds.reach(1)
            await asyncio.sleep(0.01)
            job.wake()
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_a_job_that_keeps_a_cancel_for_itself_ends_all_the_same() -> None:
    cancels = 0

    async def heedless() -> None:
        nonlocal cancels
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancels += 1
            if cancels > 1:
                raise

    async with asyncio.timeout(15):
        async with in_background(Repeating("test", heedless, every_s=60)):
            await asyncio.sleep(0.01)
    assert cancels == 1
