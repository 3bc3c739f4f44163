"""Attempts that are older than operators want are forgotten by the workers themselves."""

from datetime import UTC, datetime, timedelta

import pytest

from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.adapters.postgres_outbox import PostgresOutbox
from services.inference.app import serving
from services.inference.domain.attempt import Attempt, Ending, usage_event
from services.inference.settings import InferenceSettings
from shared.contracts.runs import RunRequested
from shared.kernel.ids import first_id_of, new_id
from shared.kernel.names import INFERENCE, Outcome
from shared.runtime.postgres import Pool
from shared.runtime.settings import DAY_S
from tests.fakes.inference import a_request
from tests.realm import PoolFor, TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration


async def a_published_run_of(database: Pool, days_ago: int) -> RunRequested:
    store, now = PostgresAttemptStore(database), datetime.now(UTC)
    born = now - timedelta(days=days_ago)
    request = a_request(run_id=first_id_of(born), deadline=born)
    attempt = Attempt(request.run_id, 1, new_id(), "worker", now)
    await store.claim(attempt, request)
    await store.finish(usage_event(request, attempt, Ending(Outcome.COMPLETED), now), None)
    await PostgresOutbox(database).note_published([attempt.usage_id])
    return request


async def test_old_attempts_are_forgotten(realm: TestRealm, pool_for: PoolFor) -> None:
    database = await pool_for(INFERENCE)
    store = PostgresAttemptStore(database)
    young, old = await a_published_run_of(database, 1), await a_published_run_of(database, 3)

    async def is_forgotten() -> bool:
        return not await store.attempts(old.run_id, stale_after_s=10)

    async with serving(InferenceSettings(**realm.settings(INFERENCE), attempts_ttl_s=2 * DAY_S)):
        await until(is_forgotten)

    assert await store.attempts(young.run_id, stale_after_s=10)
