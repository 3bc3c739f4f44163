"""A worker whose broker or database goes away in the middle of a run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from infra.simulator.control import read_calls
from shared.contracts.runs import RunCompleted, RunFailed, RunRequested
from shared.kernel.names import INFERENCE, Outcome
from tests.gate import Gate, open_gate
from tests.integration.inference.house import Billing, Edge, StartWorker
from tests.realm import TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

ARun = Callable[..., RunRequested]


Behind = Callable[[str], Awaitable[Gate]]


@pytest.fixture
async def behind(realm: TestRealm, start_worker: StartWorker) -> AsyncIterator[Behind]:
    """Starts a worker that reaches one of its servers, named by the setting, through a gate."""
    async with AsyncExitStack() as stack:

        async def start(name: str) -> Gate:
            url = realm.env(INFERENCE)[f"LATCHKEY_{name.upper()}"]
            gate = await stack.enter_async_context(open_gate(url))
            await start_worker(**{name: gate.before(url)})
            return gate

        yield start


async def in_the_middle(edge: Edge, run: RunRequested, simulator: str) -> None:
    """Ask, and wait until the provider is being called."""
    await edge.ask(run)
    await until(lambda: bool(read_calls(simulator).in_flight))


@pytest.mark.parametrize("away_s", [0.0, 3.0])
async def test_a_lost_broker_costs_no_second_call_and_no_event(
    behind: Behind, edge: Edge, billing: Billing, a_run: ARun, simulator: str, *, away_s: float
) -> None:
    gate = await behind("amqp_url")
    run = a_run("[simulate latency_ms=1500] hello", deadline=datetime.now(UTC) + timedelta(seconds=30))
    await in_the_middle(edge, run, simulator)

    await gate.close()
    await asyncio.sleep(away_s)
    await gate.open()

    [usage] = await billing.recorded(run.run_id, within_s=25)
    assert usage.outcome is Outcome.COMPLETED
    assert usage.tokens.prompt > 0
    end = await edge.ended(run.run_id)
    assert isinstance(end, RunCompleted) or end.error.code == "worker_lost"
    after = a_run()
    await edge.ask(after)
    assert isinstance(await edge.ended(after.run_id), RunCompleted)


async def test_a_lost_database_holds_up_the_record_not_the_answer(
    behind: Behind, edge: Edge, billing: Billing, a_run: ARun, simulator: str
) -> None:
    gate = await behind("postgres_url")
    run = a_run("[simulate latency_ms=500] hello")
    await in_the_middle(edge, run, simulator)

    await gate.close()

    assert isinstance(await edge.ended(run.run_id, within_s=8), RunCompleted)
    assert billing.of(run.run_id) == []
    await gate.open()
    [usage] = await billing.recorded(run.run_id)
    assert usage.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("frozen", [False, True])
async def test_without_a_database_nothing_is_called_and_the_client_is_told_in_time(
    behind: Behind, edge: Edge, billing: Billing, a_run: ARun, *, frozen: bool
) -> None:
    gate = await behind("postgres_url")
    if frozen:
        gate.freeze()
    else:
        await gate.close()
    run = a_run(start_by=datetime.now(UTC) + timedelta(seconds=2))
    await edge.ask(run)

    end = await edge.ended(run.run_id, within_s=8)
    assert isinstance(end, RunFailed)
    assert (end.error.code, end.error.retry_after_s) == ("database_unavailable", 2)
    await gate.open()
    [usage] = await billing.recorded(run.run_id)
    assert usage.outcome is Outcome.EXPIRED
