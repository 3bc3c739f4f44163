"""An answer too long for the broker fails its own run; the others of its worker go on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aio_pika
import pytest
import pytest_asyncio

from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.domain.attempt import Attempt, Ending, usage_event
from services.inference.domain.run_end import run_ended
from shared.contracts.message import MESSAGE_BYTES_MAX, Envelope, read
from shared.contracts.runs import RunChunk, RunCompleted, RunEnded, RunFailed, RunRequested
from shared.contracts.topology import API_EDGE_RUNS
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE, Outcome
from tests.fakes.inference import a_request
from tests.integration.inference.house import Billing, Edge, StartingWorkers, WorkerProcess
from tests.integration.inference.long_winded import MIB, backslashes, long_winded
from tests.realm import PoolFor, TestRealm

pytestmark = pytest.mark.integration

ARun = Callable[..., RunRequested]
_PIECES = 20


@pytest_asyncio.fixture(scope="module", autouse=True)
async def worker(starting_workers: StartingWorkers) -> AsyncIterator[WorkerProcess]:
    async with long_winded() as url, starting_workers(url) as start:
        yield await start()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("prompt", ["whole 9", "whole 13", "values 6"])
async def test_a_whole_answer(edge: Edge, billing: Billing, a_run: ARun, prompt: str, *, kept: bool) -> None:
    await fails_alone(edge, billing, a_run, a_run(prompt, kept=kept))


async def test_a_kept_stream(edge: Edge, billing: Billing, a_run: ARun, realm: TestRealm) -> None:
    run = a_run("pieces 9", stream=True, kept=True)
    await fails_alone(edge, billing, a_run, run)
    end = await published_end(realm, run.run_id)
    assert end.error is not None
    assert 4 <= len(end.chunks) < 9


async def test_a_stream_that_is_not_kept_may_be_as_long_as_it_likes(edge: Edge, a_run: ARun) -> None:
    run_id = await edge.ask(a_run("pieces 15", stream=True))
    assert isinstance(await edge.ended(run_id), RunCompleted)
    assert len(words(edge, run_id)) == 16


async def test_one_event_of_a_stream_may_be_as_long_as_a_whole_answer(
    edge: Edge, billing: Billing, a_run: ARun
) -> None:
    run_id = await edge.ask(a_run("piece 9", stream=True))
    assert isinstance(await edge.ended(run_id), RunCompleted)
    assert "a" * 9 * MIB in words(edge, run_id)[0]
    await fails_alone(edge, billing, a_run, a_run("piece 13", stream=True))


async def test_an_end_that_was_written_down_though_no_message_can_hold_it(
    realm: TestRealm, pool_for: PoolFor
) -> None:
    store, request = PostgresAttemptStore(await pool_for(INFERENCE)), a_request(kept=True)
    attempt = Attempt(request.run_id, 1, new_id(), "gone", datetime.now(UTC))
    at = datetime.now(UTC) - timedelta(minutes=5)
    usage = usage_event(request, attempt, Ending(Outcome.COMPLETED), at)
    await store.claim(attempt, request)
    await store.finish(usage, None, run_ended([usage], None, backslashes(MESSAGE_BYTES_MAX + MIB)))

    end = await published_end(realm, request.run_id)

    assert (end.outcome, end.response) == (Outcome.FAILED, None)
    assert (end.error and end.error.code) == "provider_error"


async def fails_alone(edge: Edge, billing: Billing, a_run: ARun, run: RunRequested) -> None:
    """Ask for a run while another one is told slowly, which nobody would notice to be gone but by a gap."""
    other = await edge.ask(a_run(f"slow {_PIECES}", stream=True))
    await edge.ask(run)

    failed = await edge.ended(run.run_id)
    assert isinstance(failed, RunFailed)
    assert (failed.error.code, "too long" in failed.error.message) == ("provider_error", True)
    assert isinstance(await edge.ended(other), RunCompleted)
    told = edge.told[other]
    assert [progress.seq for progress in told] == list(range(len(told)))
    assert len(words(edge, other)) == _PIECES + 1
    assert (await billing.recorded(run.run_id))[0].error_code == "provider_error"


def words(edge: Edge, run_id: UUID) -> list[str]:
    told = [progress for progress in edge.told[run_id] if isinstance(progress, RunChunk)]
    return [text for progress in told for text in progress.chunks]


async def published_end(realm: TestRealm, run_id: UUID) -> RunEnded:
    """Take ends from their queue, in the edge's place, until it is this run's."""
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection, asyncio.timeout(20):
        queue = await (await connection.channel()).get_queue(API_EDGE_RUNS, ensure=False)
        while True:
            message = await queue.get(fail=False, no_ack=True)
            if message is None:
                await asyncio.sleep(0.05)
            elif (end := read(Envelope.decode(message.body), RunEnded)).run_id == run_id:
                return end
