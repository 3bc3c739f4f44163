"""The row is the outbox: what has ended is published by its worker, else by a sweep, and noted once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.runs import RunRequested
from shared.kernel.errors import BusUnavailableError, DatabaseUnavailableError, InvalidRequestError
from shared.kernel.ids import first_id_of
from shared.kernel.names import KeySource, Outcome, TokensSource
from tests.fakes.inference import Worker, a_key, a_request, an_answer
from tests.fakes.inference_store import InMemoryAttemptStore
from tests.waiting import until

pytestmark = pytest.mark.unit

LATER = timedelta(seconds=10)
"""Past the five seconds that an ended attempt is left to its own worker."""


def a_worker(
    store: InMemoryAttemptStore | None = None, name: str = "worker-1", *, ago: timedelta = timedelta()
) -> Worker:
    """Works, but `ago`."""
    made = Worker([a_key()], store=store, name=name, now=lambda: datetime.now(UTC) - ago)
    made.provider.scripts["mine"] = [an_answer()]
    return made


def an_early_request(ago: timedelta) -> RunRequested:
    asked = datetime.now(UTC) - ago
    until_then = asked + timedelta(seconds=10)
    return a_request(requested_at=asked, start_by=until_then, deadline=until_then)


@contextmanager
def the_bus_away(worker: Worker) -> Iterator[None]:
    worker.usage_log.away = BusUnavailableError()
    yield
    worker.usage_log.away = None


async def ran_and_unpublished(worker: Worker, runs: int = 1) -> None:
    with the_bus_away(worker):
        for _ in range(runs):
            with pytest.raises(BusUnavailableError):
                await worker.run(an_early_request(LATER))


async def test_what_was_published_is_noted_together_later() -> None:
    worker = a_worker()
    for _ in range(3):
        await worker.run(a_request())
    assert worker.store.published == set()

    await worker.service.publish.note()

    assert worker.store.published == {usage.usage_id for usage in worker.usage_log.events}


async def test_what_could_not_be_noted_is_noted_later() -> None:
    worker = a_worker()
    await worker.run(a_request())
    worker.store.away = DatabaseUnavailableError()
    with pytest.raises(DatabaseUnavailableError):
        await worker.service.publish.note()

    worker.store.away = None
    await worker.service.publish.note()

    assert len(worker.store.published) == 1


async def test_a_sweep_of_another_worker_publishes_what_was_lost() -> None:
    worker = a_worker(ago=LATER)
    await ran_and_unpublished(worker)
    other = a_worker(worker.store, "other")

    for _ in range(2):
        await other.service.sweep()

    [row] = worker.store.rows.values()
    assert other.usage_log.events == [row.usage]


async def test_what_is_noted_is_not_swept_and_what_is_not_is_published_twice() -> None:
    worker = a_worker(ago=LATER)
    await worker.run(an_early_request(LATER))
    await worker.service.publish.note()
    await worker.run(an_early_request(LATER))
    other = a_worker(worker.store, "other")

    await other.service.sweep()

    assert other.usage_log.events == worker.usage_log.events[1:]


async def test_hundreds_wait_for_the_bus_and_one_sweep_publishes_them_all() -> None:
    worker = a_worker(ago=LATER)
    await ran_and_unpublished(worker, 350)
    with the_bus_away(worker), pytest.raises(BusUnavailableError):
        await worker.service.sweep()

    await worker.service.sweep()

    assert len(worker.usage_log.events) == len(worker.store.published) == 350


# -- what is old ------------------------------------------------------------------------------------------


def a_request_of(days_ago: int) -> RunRequested:
    """One that an edge asked for then, whose attempts are made now."""
    born = datetime.now(UTC) - timedelta(days=days_ago)
    return an_early_request(LATER).model_copy(update={"run_id": first_id_of(born)})


def grow_old(worker: Worker) -> None:
    """Their deadlines are long past."""
    born = datetime.now(UTC) - timedelta(days=29)
    requests = worker.store.requests
    requests.update({place: one.model_copy(update={"deadline": born}) for place, one in requests.items()})


async def test_what_is_old_is_forgotten_but_published_before() -> None:
    worker = a_worker(ago=LATER)
    old, unpublished, young = a_request_of(31), a_request_of(32), a_request_of(29)
    for request in (old, young):
        await worker.run(request)
    await worker.service.publish.note()
    with the_bus_away(worker):
        with pytest.raises(BusUnavailableError):
            await worker.run(unpublished)
        grow_old(worker)
        with pytest.raises(BusUnavailableError):
            await worker.service.sweep()
        assert {run_id for run_id, _ in worker.store.rows} == {unpublished.run_id, young.run_id}

    await worker.service.sweep()

    assert {run_id for run_id, _ in worker.store.rows} == {young.run_id}
    assert worker.usage_log.events[-1].run_id == unpublished.run_id


async def test_a_message_that_comes_when_its_run_is_forgotten_is_refused_and_nothing_called() -> None:
    worker = a_worker()
    long_ago = timedelta(days=31)
    old = an_early_request(long_ago).model_copy(update={"run_id": a_request_of(31).run_id})

    for redelivered in (False, True):
        with pytest.raises(InvalidRequestError):
            await worker.service.run_inference(old, redelivered=redelivered)

    assert (worker.provider.calls, worker.store.rows) == ([], {})


# -- attempts without an end, whose message is gone -------------------------------------------------------


async def abandoned(store: InMemoryAttemptStore, ago: timedelta) -> RunRequested:
    """A run whose worker dies in the call, and that never comes again."""
    _, request, running = await in_its_call(store, ago)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return request


async def in_its_call(
    store: InMemoryAttemptStore, ago: timedelta
) -> tuple[Worker, RunRequested, asyncio.Task[object]]:
    """A worker whose provider does not answer."""
    worker = a_worker(store, "lost", ago=ago)
    worker.provider.scripts["mine"] = [30.0]
    running = asyncio.create_task(worker.run(request := an_early_request(ago)))
    await until(lambda: bool(worker.provider.calls))
    return worker, request, running


async def sweeps(worker: Worker) -> None:
    """Beats long enough to judge others, then sweeps."""
    for _ in range(12):
        await worker.service.heart.beat()
        await asyncio.sleep(0.01)
    await worker.service.sweep()


async def test_an_abandoned_attempt_is_ended_as_interrupted_and_published() -> None:
    store = InMemoryAttemptStore()
    request = await abandoned(store, timedelta(minutes=5))
    other = a_worker(store, "other", ago=LATER)

    await sweeps(other)
    await other.service.sweep()

    [usage] = other.usage_log.events
    assert (usage.run_id, usage.outcome, usage.error_code) == (
        request.run_id,
        Outcome.INTERRUPTED,
        "worker_lost",
    )
    assert (usage.user_id, usage.flow, usage.policy, usage.model) == (
        "ann",
        "chat",
        request.policy,
        request.model,
    )
    assert (usage.key_source, usage.tokens.source) == (KeySource.USER, TokensSource.UNKNOWN)
    assert usage.requested_at == request.requested_at
    assert usage.cost_micros is None
    assert other.audience.told == []


async def test_until_long_after_its_deadline_it_is_left_to_whoever_gets_its_message() -> None:
    store = InMemoryAttemptStore()
    await abandoned(store, timedelta(seconds=30))

    await sweeps(other := a_worker(store, "other"))

    assert [row.usage for row in other.store.rows.values()] == [None]


async def test_a_worker_whose_own_heart_was_still_ends_nothing() -> None:
    store = InMemoryAttemptStore()
    await abandoned(store, timedelta(minutes=5))
    other = a_worker(store, "other")

    await other.service.heart.beat()
    await other.service.sweep()

    assert [row.usage for row in store.rows.values()] == [None]


async def test_what_a_living_worker_has_is_left_to_it() -> None:
    store = InMemoryAttemptStore()
    await abandoned(store, timedelta(minutes=5))
    other = a_worker(store, "other")
    for _ in range(12):
        await other.service.heart.beat()
        await asyncio.sleep(0.01)

    await store.beat("lost")
    await other.service.sweep()

    assert [row.usage for row in store.rows.values()] == [None]


async def test_a_worker_ends_long_after_the_deadline_what_it_could_not_end_before() -> None:
    store = InMemoryAttemptStore()
    worker, _, running = await in_its_call(store, timedelta(minutes=5))
    await sweeps(worker)
    assert [row.usage for row in store.rows.values()] == [None], "it is still at work on it"

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await worker.service.sweep()

    [row] = store.rows.values()
    assert row.usage is not None
    assert row.usage.outcome is Outcome.INTERRUPTED
