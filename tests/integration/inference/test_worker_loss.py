"""Workers that are killed or stopped in the middle of runs."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from infra.simulator.control import read_calls
from shared.contracts.runs import RunCompleted, RunFailed, RunRequested
from shared.kernel.names import Outcome, TokensSource
from tests.integration.inference.house import Billing, Edge, StartWorker, WorkerProcess

pytestmark = pytest.mark.integration

ARun = Callable[..., RunRequested]


async def _many(edge: Edge, a_run: ARun, count: int, *, latency_ms: int = 300) -> list[RunRequested]:
    runs = [
        a_run(
            f"[simulate latency_ms={latency_ms}] run {number}",
            deadline=datetime.now(UTC) + timedelta(seconds=60),
            start_by=datetime.now(UTC) + timedelta(seconds=60),
        )
        for number in range(count)
    ]
    await asyncio.gather(*(edge.ask(run) for run in runs))
    return runs


@pytest.fixture
async def two_workers(start_worker: StartWorker) -> tuple[WorkerProcess, WorkerProcess]:
    first, second = await asyncio.gather(start_worker(concurrency="10"), start_worker(concurrency="10"))
    return first, second


async def test_a_killed_worker_costs_no_run_its_end_and_no_second_call(
    edge: Edge,
    billing: Billing,
    a_run: ARun,
    simulator: str,
    two_workers: tuple[WorkerProcess, WorkerProcess],
) -> None:
    runs = await _many(edge, a_run, 50, latency_ms=2000)
    async with asyncio.timeout(10):
        while read_calls(simulator).in_flight < 20:  # both workers are full
            await asyncio.sleep(0.05)

    await two_workers[0].kill()

    ends = await asyncio.gather(*(edge.ended(run.run_id, within_s=45) for run in runs))
    outcomes = [await billing.recorded(run.run_id, within_s=45) for run in runs]
    assert all(len(usages) == 1 for usages in outcomes)
    lost = [usages[0] for usages in outcomes if usages[0].outcome is Outcome.INTERRUPTED]
    assert 1 <= len(lost) <= 10
    assert {end.error.code for end in ends if isinstance(end, RunFailed)} == {"worker_lost"}
    assert all(count == 1 for count in read_calls(simulator).by_prompt.values())


async def test_a_stopped_worker_finishes_what_it_has_and_leaves_the_rest(
    edge: Edge,
    billing: Billing,
    a_run: ARun,
    simulator: str,
    two_workers: tuple[WorkerProcess, WorkerProcess],
) -> None:
    runs = await _many(edge, a_run, 50)
    async with asyncio.timeout(10):
        while len(billing.usage) < 12:
            await asyncio.sleep(0.01)

    began = asyncio.get_running_loop().time()
    assert await two_workers[0].terminate() == 0
    assert asyncio.get_running_loop().time() - began < 5

    ends = await asyncio.gather(*(edge.ended(run.run_id) for run in runs))
    assert all(isinstance(end, RunCompleted) for end in ends)
    assert all(count == 1 for count in read_calls(simulator).by_prompt.values())
    for run in runs:
        [usage] = await billing.recorded(run.run_id)
        assert usage.outcome is Outcome.COMPLETED


async def test_what_outlasts_the_grace_is_interrupted_and_written_down(
    edge: Edge, billing: Billing, a_run: ARun, start_worker: StartWorker
) -> None:
    worker = await start_worker(shutdown_grace_s="1")
    run_id = await edge.ask(a_run("[simulate chunks=100 chunk_ms=100]", stream=True))
    async with asyncio.timeout(10):
        while "RunChunk" not in edge.kinds(run_id):
            await asyncio.sleep(0.01)

    assert await worker.terminate(within_s=8) == 0

    end = await edge.ended(run_id)
    assert isinstance(end, RunFailed)
    assert end.error.code == "worker_lost"
    [usage] = await billing.recorded(run_id)
    assert (usage.outcome, usage.tokens.source) == (Outcome.INTERRUPTED, TokensSource.ESTIMATED)


async def test_a_worker_that_winds_down_keeps_no_new_run_waiting(
    edge: Edge, billing: Billing, a_run: ARun, two_workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    long_runs = [a_run("[simulate chunks=40 chunk_ms=100]", stream=True) for _ in range(4)]
    for run in long_runs:
        await edge.ask(run)
    async with asyncio.timeout(10):
        while not all("RunChunk" in edge.kinds(run.run_id) for run in long_runs):
            await asyncio.sleep(0.01)
    closing = asyncio.create_task(two_workers[0].terminate())
    await two_workers[0].until("closing")

    runs = [a_run() for _ in range(20)]
    for run in runs:
        await edge.ask(run)

    ends = await asyncio.gather(*(edge.ended(run.run_id, within_s=2) for run in runs))
    assert all(isinstance(end, RunCompleted) for end in ends)
    assert not closing.done()
    assert await closing == 0
    assert all([isinstance(await edge.ended(run.run_id), RunCompleted) for run in long_runs])
    assert all([await billing.recorded(run.run_id) for run in long_runs])
