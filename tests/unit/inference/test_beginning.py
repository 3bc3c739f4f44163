"""The word that a run has begun, in its place among the others."""

import asyncio
from functools import partial

import pytest

from services.inference.use_cases.beginning import Beginning
from shared.kernel.names import KeySource
from tests.waiting import until

pytestmark = pytest.mark.unit


class Told:
    def __init__(self) -> None:
        self.words: list[object] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, attempt: int, source: KeySource) -> None:
        await self.gate.wait()
        self.words.append((attempt, source))


async def test_it_is_told_after_the_silence() -> None:
    told = Told()
    Beginning(silence_s=0.01).of(partial(told, 1, KeySource.USER))
    await until(lambda: told.words == [(1, KeySource.USER)])


async def test_what_is_told_before_spares_it() -> None:
    told = Told()
    beginning = Beginning(silence_s=0.01)
    beginning.of(partial(told, 1, KeySource.USER))
    await beginning.settle()
    await asyncio.sleep(0.05)
    assert told.words == []


async def test_of_two_attempts_the_last_one_is_told() -> None:
    told = Told()
    beginning = Beginning(silence_s=0.02)
    beginning.of(partial(told, 1, KeySource.USER))
    beginning.of(partial(told, 2, KeySource.PLATFORM))
    await asyncio.sleep(0.1)
    assert told.words == [(2, KeySource.PLATFORM)]


async def test_what_is_told_next_waits_for_it_when_it_is_on_its_way() -> None:
    told = Told()
    told.gate.clear()
    beginning = Beginning(silence_s=0)
    beginning.of(partial(told, 1, KeySource.USER))
    await asyncio.sleep(0.02)
    settling = asyncio.create_task(beginning.settle())
    await asyncio.sleep(0.02)
    assert not settling.done()
    told.gate.set()
    await settling
    assert told.words == [(1, KeySource.USER)]
