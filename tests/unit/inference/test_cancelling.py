"""A run that is cancelled: what it used so far is recorded, and nobody is called any more."""

import asyncio
from collections.abc import Callable

import pytest

from shared.contracts.runs import RunRequested
from shared.contracts.usage import TokenCounts
from shared.kernel.names import Outcome, TokensSource
from tests.fakes.inference import Worker, a_key, a_request, chunks
from tests.unit.inference.watching import MEASURED, failure, only_usage
from tests.waiting import until

pytestmark = pytest.mark.unit


async def in_the_middle(worker: Worker, request: RunRequested, act: Callable[[], object]) -> None:
    """Run, and act once the provider is being called."""
    running = asyncio.create_task(worker.run(request))
    await until(lambda: bool(worker.provider.calls))
    await asyncio.sleep(0.01)
    act()
    async with asyncio.timeout(2):
        await running


async def test_a_cancel_aborts_the_call_and_estimates_what_was_used() -> None:
    worker, request = Worker([a_key()]), a_request(stream=True)
    worker.provider.scripts["mine"] = [*chunks("abcdefgh", usage=None), 30.0]

    await in_the_middle(worker, request, lambda: worker.in_flight.cancel(request.run_id))

    usage = only_usage(worker)
    assert usage.outcome is Outcome.CANCELLED
    assert (usage.tokens.source, usage.tokens.completion) == (TokensSource.ESTIMATED, 2)
    assert failure(worker).error.code == "run_cancelled"


async def test_a_cancel_after_the_usage_keeps_the_measure() -> None:
    worker, request = Worker([a_key()]), a_request(stream=True)
    worker.provider.scripts["mine"] = [*chunks("abcdefgh"), 30.0]

    await in_the_middle(worker, request, lambda: worker.in_flight.cancel(request.run_id))

    assert only_usage(worker).tokens == MEASURED


async def test_a_cancel_before_the_call_counts_nothing() -> None:
    worker, request = Worker([a_key()]), a_request()
    worker.resolver.delay_s = 30
    running = asyncio.create_task(worker.run(request))
    await until(lambda: bool(worker.resolver.asked))

    worker.in_flight.cancel(request.run_id)
    await running

    assert (only_usage(worker).outcome, only_usage(worker).tokens) == (Outcome.CANCELLED, TokenCounts())


async def test_a_cancel_while_the_provider_takes_no_connection_counts_nothing() -> None:
    worker, request = Worker([a_key()]), a_request()
    worker.provider.connects = False
    worker.provider.scripts["mine"] = [30.0]

    await in_the_middle(worker, request, lambda: worker.in_flight.cancel(request.run_id))

    assert (only_usage(worker).outcome, only_usage(worker).tokens) == (Outcome.CANCELLED, TokenCounts())


async def test_a_cancel_that_comes_before_its_run_is_remembered() -> None:
    worker, request = Worker([a_key()]), a_request()

    assert worker.in_flight.cancel(request.run_id) is False
    await worker.run(request)

    assert worker.provider.calls == []
    assert only_usage(worker).outcome is Outcome.CANCELLED
