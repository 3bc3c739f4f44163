"""Work in the background: woken, repeated, never ended by a failure."""

import asyncio

import pytest

from services.billing.background import Repeating, in_background
from services.billing.use_cases.relay_events import relay_events
from shared.kernel.errors import BusUnavailableError
from tests.fakes.billing import InMemoryLedgerStore, InMemoryPublisher, granted

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


async def test_events_wait_for_the_bus_and_keep_their_ids() -> None:
    store, publisher = InMemoryLedgerStore(), InMemoryPublisher()
    await store.grant(granted("ada", 5), "key")
    event_id, event = store.events[0]
    publisher.error = BusUnavailableError()
    with pytest.raises(BusUnavailableError):
        await relay_events(outbox=store, publisher=publisher)
    publisher.error = None
    await relay_events(outbox=store, publisher=publisher)
    assert publisher.published == [(str(event_id), event)]
    assert store.events == []
