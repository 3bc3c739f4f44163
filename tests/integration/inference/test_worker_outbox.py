"""What was committed is published, whatever becomes of the worker and the run's message."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID

import aio_pika
import pytest

from infra.simulator.control import read_calls
from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.app import serving
from services.inference.domain.attempt import Attempt, Ending, usage_event
from services.inference.service import Inference, Parts
from services.inference.settings import InferenceSettings
from services.inference.use_cases.limits import Limits
from shared.contracts.runs import RunRequested
from shared.contracts.topology import INFERENCE_RUNS
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE, Outcome
from shared.runtime.postgres import Pool as Database
from tests.fakes.inference import a_request
from tests.gate import open_gate
from tests.integration.inference.house import Billing, Edge, StartWorker
from tests.realm import PoolFor, TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

Ask = Callable[[], Awaitable[RunRequested]]
QUICK = Limits(stale_after_s=3, unpublished_after_s=0.5, orphaned_after=timedelta(seconds=1))


@pytest.fixture
async def database(pool_for: PoolFor) -> Database:
    return await pool_for(INFERENCE)


@asynccontextmanager
async def another_worker(realm: TestRealm) -> AsyncIterator[None]:
    """Here in the test's own process, and less patient than workers are."""
    values = realm.settings(INFERENCE)

    def build(parts: Parts) -> Inference:
        return Inference(replace(parts, limits=QUICK))

    settings = InferenceSettings(**values, shutdown_grace_s=0.1)
    async with serving(settings, build=build):
        yield


async def is_published(database: Database, run_id: UUID) -> bool:
    asked = "select bool_and(published_at is not null) from attempts where run_id = $1"
    return bool(await database.fetchval(asked, run_id))


async def purge_the_run(realm: TestRealm) -> None:
    """Take the one run that waits out of its queue, for ever."""
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(INFERENCE_RUNS)

        async def purged() -> bool:
            return bool((await queue.purge()).message_count)

        await until(purged)


def times_told(billing: Billing, usages: list[UsageRecorded]) -> int:
    """How many events of these attempts have come; what else the broker still had does not count."""
    usage_ids = {usage.usage_id for usage in usages}
    return sum(usage.usage_id in usage_ids for usage in billing.usage)


@pytest.fixture
def ask(edge: Edge, a_run: Callable[..., RunRequested]) -> Ask:
    """Asks for a run that takes a while."""

    async def asked() -> RunRequested:
        run = a_run("[simulate latency_ms=500] hello")
        await edge.ask(run)
        return run

    return asked


@pytest.fixture
async def unpublished(
    realm: TestRealm, start_worker: StartWorker, simulator: str, ask: Ask, database: Database
) -> RunRequested:
    """The broker is away when the run ends; its worker is killed with the event unpublished."""
    url = realm.env(INFERENCE)["LATCHKEY_AMQP_URL"]
    async with open_gate(url) as gate:
        worker = await start_worker(amqp_url=gate.before(url))
        run = await ask()

        async def has_ended() -> bool:
            return bool(await database.fetchval("select outcome from attempts where run_id = $1", run.run_id))

        await until(lambda: bool(read_calls(simulator).in_flight))
        await gate.close()
        await until(has_ended)
        await worker.kill()
    return run


async def test_killed_between_row_and_publish_and_the_message_lost(
    realm: TestRealm, unpublished: RunRequested, billing: Billing, database: Database
) -> None:
    await purge_the_run(realm)
    assert billing.of(unpublished.run_id) == []

    async with another_worker(realm):
        [usage] = await billing.recorded(unpublished.run_id)
        await until(lambda: is_published(database, unpublished.run_id))

    assert usage.outcome is Outcome.COMPLETED
    assert times_told(billing, [usage]) == 1


async def test_killed_between_publish_and_note(
    realm: TestRealm, start_worker: StartWorker, ask: Ask, billing: Billing, database: Database
) -> None:
    worker = await start_worker()
    run = await ask()
    [usage] = await billing.recorded(run.run_id)
    await worker.kill()

    async with another_worker(realm):
        await until(lambda: is_published(database, run.run_id))

    assert await billing.recorded(run.run_id) == [usage]  # which compares all that came with this id


async def test_a_living_worker_notes_what_it_published(
    start_worker: StartWorker, ask: Ask, billing: Billing, database: Database
) -> None:
    await start_worker()
    runs = [await ask() for _ in range(20)]

    for run in runs:
        await until(lambda run=run: is_published(database, run.run_id), within_s=5)  # type: ignore[misc]

    assert times_told(billing, [*chain.from_iterable(billing.of(run.run_id) for run in runs)]) == len(runs)


async def test_two_workers_publish_what_a_long_outage_left_each_event_once(
    realm: TestRealm, billing: Billing, database: Database
) -> None:
    store, ended = PostgresAttemptStore(database), []
    for _ in range(500):
        request = a_request()
        attempt = Attempt(request.run_id, 1, new_id(), "gone", datetime.now(UTC))
        at = datetime.now(UTC) - timedelta(minutes=5)
        await store.claim(attempt, request)
        await store.finish(usage := usage_event(request, attempt, Ending(Outcome.EXPIRED), at), None)
        ended.append(usage)

    async def all_are_noted() -> bool:
        unnoted = "select count(*) from attempts where usage_id = any($1) and published_at is null"
        return not await database.fetchval(unnoted, [usage.usage_id for usage in ended])

    async with another_worker(realm), another_worker(realm):
        await until(all_are_noted)

    async def all_have_come() -> bool:
        return times_told(billing, ended) >= len(ended)

    await until(all_have_come)
    assert times_told(billing, ended) == len(ended)


async def test_an_attempt_whose_worker_and_message_are_gone_is_ended(
    realm: TestRealm, billing: Billing, database: Database
) -> None:
    before = datetime.now(UTC) - timedelta(minutes=5)
    request = a_request(requested_at=before, deadline=before + timedelta(seconds=10))
    attempt = Attempt(request.run_id, 1, new_id(), "gone", before)
    await PostgresAttemptStore(database).claim(attempt, request)

    async with another_worker(realm):
        [usage] = await billing.recorded(request.run_id)

    assert (usage.outcome, usage.error_code) == (Outcome.INTERRUPTED, "worker_lost")
    assert (usage.usage_id, usage.requested_at) == (attempt.usage_id, before)
