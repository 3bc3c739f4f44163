"""Who listens to a run hears all of it, in order, whenever they come."""

import asyncio
import sys
import tracemalloc

import pytest

from services.inference.use_cases.listeners import Listeners
from shared.contracts.runs import RunChunk, RunProgress, RunStarted
from shared.kernel.ids import new_id
from shared.kernel.names import KeySource
from tests.fakes.inference import InMemoryAudience

pytestmark = pytest.mark.unit

RUN = new_id()
FIRST, SECOND = "reply.api_edge.one", "reply.api_edge.two"


class SlowAudience:
    def __init__(self) -> None:
        self.told: dict[str, list[int]] = {}

    async def tell(self, progress: RunProgress, reply_to: str) -> None:
        await asyncio.sleep(0)
        self.told.setdefault(reply_to, []).append(progress.seq)


class DeafAudience:
    async def tell(self, *_: object) -> None:
        """Forgets it."""


def a_chunk(seq: int) -> RunChunk:
    return RunChunk(run_id=RUN, seq=seq, chunks=(f"{seq}a", f"{seq}b"), index=2 * seq)


async def test_who_comes_late_hears_what_was_before() -> None:
    audience = SlowAudience()
    listeners = Listeners(audience, FIRST, keeps=True)
    for seq in range(3):
        await listeners.tell(a_chunk(seq))
    await listeners.attach(SECOND, 1)
    await listeners.tell(a_chunk(3))
    assert audience.told == {FIRST: [0, 1, 2, 3], SECOND: [1, 2, 3]}
    assert listeners.chunks == ("0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b")


async def test_who_comes_late_hears_what_was_said_word_for_word() -> None:
    audience = InMemoryAudience()
    listeners = Listeners(audience, FIRST, keeps=True)
    started = RunStarted(run_id=RUN, seq=0, attempt=1, key_source=KeySource.USER)
    told: list[RunProgress] = [started, a_chunk(1), a_chunk(2)]
    for progress in told:
        await listeners.tell(progress)
    await listeners.attach(SECOND, 0)
    assert audience.to == {FIRST: told, SECOND: told}


async def test_a_chunk_that_is_remembered_takes_little_beside_its_text() -> None:
    listeners = Listeners(DeafAudience(), FIRST, keeps=True)
    tracemalloc.start()
    for seq in range(2_000):
        await listeners.tell(a_chunk(seq))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    texts = sum(map(sys.getsizeof, listeners.chunks))
    assert taken - texts < 2_000 * 250


async def test_what_comes_while_one_is_told_the_past_comes_after_it() -> None:
    audience = SlowAudience()
    listeners = Listeners(audience, FIRST, keeps=True)
    for seq in range(50):
        await listeners.tell(a_chunk(seq))
    attaching = asyncio.create_task(listeners.attach(SECOND, 0))
    for seq in range(50, 100):
        await listeners.tell(a_chunk(seq))
    await attaching
    assert audience.told == {FIRST: list(range(100)), SECOND: list(range(100))}


async def test_who_missed_something_is_told_again() -> None:
    audience = SlowAudience()
    listeners = Listeners(audience, FIRST, keeps=True)
    for seq in range(3):
        await listeners.tell(a_chunk(seq))
    await listeners.attach(FIRST, 1)
    assert audience.told == {FIRST: [0, 1, 2, 1, 2]}


async def test_who_asks_for_what_is_still_to_come_misses_nothing() -> None:
    audience = SlowAudience()
    listeners = Listeners(audience, FIRST, keeps=True)
    await listeners.attach(SECOND, 0)
    await listeners.tell(a_chunk(0))
    assert audience.told == {FIRST: [0], SECOND: [0]}


async def test_those_who_came_first_make_room() -> None:
    audience = SlowAudience()
    listeners = Listeners(audience, FIRST, keeps=True)
    for number in range(16):
        await listeners.attach(f"reply.api_edge.{number}", 0)
    await listeners.tell(a_chunk(0))
    assert FIRST not in audience.told
    assert len(audience.told) == 16


async def test_of_a_run_that_is_not_kept_nothing_is_remembered() -> None:
    audience = SlowAudience()
    listeners = Listeners(audience, FIRST, keeps=False)
    await listeners.tell(a_chunk(0))
    assert audience.told == {FIRST: [0]}
    assert listeners.chunks == ()
