"""A run while the database or the bus is away."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.runs import RunFailed, RunRequested
from shared.kernel.errors import BusUnavailableError, DatabaseUnavailableError
from shared.kernel.names import Outcome
from tests.fakes.inference import Worker, a_key, a_request, an_answer
from tests.unit.inference.watching import MEASURED, failure, only_usage
from tests.waiting import until

pytestmark = pytest.mark.unit


async def run_while_the_database_is_away(worker: Worker, request: RunRequested, seconds: float) -> None:
    worker.store.away = DatabaseUnavailableError()
    running = asyncio.create_task(worker.run(request))
    await asyncio.sleep(seconds)
    worker.store.away = None
    await asyncio.wait_for(running, 2)


async def test_a_run_waits_for_the_database_to_be_claimed() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [an_answer()]

    await run_while_the_database_is_away(worker, a_request(), 0.1)

    assert worker.audience.kinds() == ["RunCompleted"]


async def test_when_it_takes_too_long_the_client_is_told_and_the_run_expires() -> None:
    worker = Worker([a_key()])
    request = a_request(start_by=datetime.now(UTC) + timedelta(seconds=0.05))

    await run_while_the_database_is_away(worker, request, 0.3)

    told = [progress.error.code for progress in worker.audience.told if isinstance(progress, RunFailed)]
    assert told == ["database_unavailable", "service_unavailable"]
    assert worker.provider.calls == []
    assert only_usage(worker).outcome is Outcome.EXPIRED


async def test_a_database_away_at_the_end_holds_up_the_record_not_the_client() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [0.05, an_answer()]
    running = asyncio.create_task(worker.run(a_request()))
    await until(lambda: bool(worker.provider.calls))

    worker.store.away = DatabaseUnavailableError()
    await until(lambda: worker.audience.kinds() == ["RunCompleted"])
    assert worker.usage_log.events == []
    worker.store.away = None
    await running

    assert only_usage(worker).tokens == MEASURED


async def test_a_database_away_before_the_call_fails_the_run() -> None:
    worker = Worker([a_key()])
    worker.resolver.delay_s = 0.05
    running = asyncio.create_task(worker.run(a_request(), redelivered=True))
    await until(lambda: bool(worker.resolver.asked))

    worker.store.away = DatabaseUnavailableError()
    await until(lambda: bool(worker.audience.told))
    worker.store.away = None
    await running

    assert failure(worker).error.code == "database_unavailable"
    assert worker.provider.calls == []
    assert only_usage(worker).outcome is Outcome.FAILED


async def test_an_unpublished_usage_event_brings_the_message_back_and_is_the_same_the_next_time() -> None:
    worker, request = Worker([a_key()]), a_request()
    worker.provider.scripts["mine"] = [an_answer()]
    worker.usage_log.away = BusUnavailableError()

    with pytest.raises(BusUnavailableError):
        await worker.run(request)
    [row] = worker.store.rows.values()
    worker.usage_log.away = None
    await worker.run(request)

    assert only_usage(worker) == row.usage
    assert len(worker.provider.calls) == 1
