"""RunProgress in order: gaps, repeats, ends, and who waits how long."""

import asyncio
import itertools
import time
from functools import partial

import pytest

from services.api_edge.use_cases.active_run import ActiveRun
from services.api_edge.use_cases.running import START_GRACE_S, not_taken
from services.api_edge.use_cases.waiting_runs import Inbox, WaitingRuns
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunChunk, RunCompleted, RunFailed, RunProgress, RunStarted
from shared.kernel.errors import (
    BusUnavailableError,
    ProviderTimeoutError,
    RunCancelledError,
    ServiceUnavailableError,
    WorkerLostError,
)
from shared.kernel.ids import new_id
from shared.kernel.names import KeySource
from tests.fakes.api_edge_worker import InMemoryRunBus

pytestmark = pytest.mark.unit

RUN = new_id()


def _started(seq: int = 0) -> RunStarted:
    return RunStarted(run_id=RUN, seq=seq, attempt=1, key_source=KeySource.USER)


def _chunk(seq: int) -> RunChunk:
    return RunChunk(run_id=RUN, seq=seq, chunks=(str(seq),))


def _completed(seq: int, response: str | None = None) -> RunCompleted:
    return RunCompleted(run_id=RUN, seq=seq, key_source=KeySource.USER, response=response)


def _failed(seq: int, source: KeySource | None = None) -> RunFailed:
    return RunFailed(run_id=RUN, seq=seq, error=ErrorBody.of(WorkerLostError("lost")), key_source=source)


def _run(
    inbox: Inbox, *, start_s: float = 5, run_s: float = 5, bus: InMemoryRunBus | None = None
) -> ActiveRun:
    now = asyncio.get_running_loop().time()
    closed: list[bool] = []
    run = ActiveRun(
        RUN,
        inbox,
        start_by=now + start_s,
        deadline=now + run_s,
        not_taken=partial(not_taken, bus or InMemoryRunBus(WaitingRuns(1))),
        close=closed.append,
    )
    run.asked = True
    return run


async def test_messages_come_in_order() -> None:
    inbox = Inbox()
    sent: list[RunProgress] = [_started(), _chunk(1), _chunk(2), _completed(3)]
    for progress in sent:
        inbox.put(progress)
    assert [await inbox.get() for _ in sent] == sent


async def test_a_message_told_twice_is_dropped() -> None:
    inbox = Inbox()
    for progress in (_started(), _chunk(1), _chunk(1), _started(), _completed(2)):
        inbox.put(progress)
    assert [(await inbox.get()).seq for _ in range(3)] == [0, 1, 2]


async def test_a_gap_means_that_something_was_lost() -> None:
    inbox = Inbox()
    for progress in (_started(), _chunk(2), _completed(3)):
        inbox.put(progress)
    assert await inbox.get() == _started()
    with pytest.raises(BusUnavailableError):
        await inbox.get()


async def test_a_streamed_end_after_a_gap_is_no_end() -> None:
    inbox = Inbox()
    inbox.put(_completed(2))
    with pytest.raises(BusUnavailableError):
        await inbox.get()


@pytest.mark.parametrize("end", [_failed(7), _completed(7, "{}")])
async def test_what_says_all_is_taken_after_a_gap(end: RunFailed | RunCompleted) -> None:
    inbox = Inbox()
    inbox.put(end)
    assert await inbox.get() == end


@pytest.mark.parametrize("end", [_failed(0), _completed(0, "{}")])
async def test_the_end_that_a_second_worker_tells_is_taken_whatever_its_number(
    end: RunFailed | RunCompleted,
) -> None:
    inbox = Inbox()
    sent: list[RunProgress] = [_started(), _chunk(1), end]
    for progress in sent:
        inbox.put(progress)
    assert [(await inbox.get()).seq for _ in range(3)] == [0, 1, 0]


async def test_nothing_comes_after_the_end() -> None:
    inbox = Inbox()
    inbox.put(_completed(0, "{}"))
    inbox.put(_failed(1))
    inbox.fail(BusUnavailableError())
    await inbox.get()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await inbox.get()


async def _read_until_it_fails(inbox: Inbox) -> int:
    for read in itertools.count():
        try:
            await inbox.get()
        except RunCancelledError:
            return read
    raise AssertionError("it never fails")


@pytest.mark.parametrize(("text", "most"), [("x", 20_000), ("x" * 100_000, 42)])
async def test_a_client_that_never_reads_does_not_fill_the_memory(text: str, most: int) -> None:
    inbox = Inbox()
    for seq in range(20_001):
        inbox.put(RunChunk(run_id=RUN, seq=seq, chunks=(text,)))

    assert most / 2 < await _read_until_it_fails(inbox) <= most


async def test_a_client_that_reads_gets_any_amount() -> None:
    inbox = Inbox()
    for seq in range(200):
        inbox.put(RunChunk(run_id=RUN, seq=seq, chunks=("x" * 100_000,)))
        await inbox.get()


async def test_an_edge_that_closes_says_so() -> None:
    run = _run(Inbox())
    waiting = asyncio.create_task(run.next())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(ServiceUnavailableError) as told:
        await waiting
    assert (told.value.service, told.value.retry_after_s) == ("api_edge", 2)


async def test_progress_reaches_its_own_run_only() -> None:
    waiting = WaitingRuns(10)
    mine, other = waiting.open(RUN), waiting.open(new_id())
    waiting.deliver(_started())
    waiting.deliver(_started().model_copy(update={"run_id": new_id()}))
    assert await mine.get() == _started()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await other.get()


async def test_a_lost_bus_ends_every_wait() -> None:
    waiting = WaitingRuns(10)
    inboxes = [waiting.open(new_id()) for _ in range(3)]
    waiting.fail_all(BusUnavailableError)
    for inbox in inboxes:
        with pytest.raises(BusUnavailableError):
            await inbox.get()


def test_runs_in_flight_are_bounded() -> None:
    waiting = WaitingRuns(1)
    inbox = waiting.open(RUN)
    with pytest.raises(ServiceUnavailableError) as refusal:
        waiting.open(new_id())
    assert (refusal.value.service, refusal.value.retry_after_s) == ("api_edge", 1)
    waiting.close(RUN, inbox)
    waiting.close(RUN, inbox)
    assert len(waiting) == 0
    assert RUN not in waiting


async def test_a_run_tells_its_chunks_and_its_end() -> None:
    inbox = Inbox()
    run = _run(inbox)
    for progress in (_started(), _chunk(1), _completed(2)):
        inbox.put(progress)
    assert await run.next() == _chunk(1)
    assert run.key_source is KeySource.USER
    assert await run.next() == _completed(2)


async def test_a_run_raises_its_error_and_knows_the_key() -> None:
    inbox = Inbox()
    run = _run(inbox)
    inbox.put(_failed(0, source=KeySource.PLATFORM))
    with pytest.raises(WorkerLostError):
        await run.next()
    assert run.key_source is KeySource.PLATFORM


async def test_a_run_that_nobody_starts_is_given_up() -> None:
    run = _run(Inbox(), start_s=0.02 - START_GRACE_S)
    began = time.monotonic()
    with pytest.raises(ServiceUnavailableError) as refusal:
        await run.next()
    assert refusal.value.service == "inference"
    assert time.monotonic() - began < 1


async def test_one_that_may_only_not_be_heard_is_not_said_to_be_untaken() -> None:
    bus = InMemoryRunBus(WaitingRuns(1))
    bus.is_cut_off = True
    run = _run(Inbox(), start_s=0.02 - START_GRACE_S, bus=bus)
    with pytest.raises(BusUnavailableError):
        await run.next()


async def test_a_started_run_has_until_its_deadline() -> None:
    inbox = Inbox()
    run = _run(inbox, start_s=0.01 - START_GRACE_S, run_s=0.2)
    inbox.put(_started())
    with pytest.raises(ProviderTimeoutError):
        await run.next()


@pytest.mark.parametrize(
    ("ends", "asked", "cancels"), [(True, True, False), (False, True, True), (False, False, False)]
)
async def test_only_an_unfinished_run_is_cancelled(*, ends: bool, asked: bool, cancels: bool) -> None:
    inbox = Inbox()
    now = asyncio.get_running_loop().time()
    closed: list[bool] = []
    run = ActiveRun(
        RUN,
        inbox,
        start_by=now + 5,
        deadline=now + 5,
        not_taken=ServiceUnavailableError,
        close=closed.append,
    )
    run.asked = asked
    if ends:
        inbox.put(_completed(0, "{}"))
        await run.next()
    run.close()
    assert closed == [cancels]


async def test_an_abandoned_run_stops_waiting() -> None:
    run = _run(Inbox())
    run.abandon()
    with pytest.raises(RunCancelledError):
        await run.next()
