"""Claims and ends of many runs in one transaction: what one of them may not do to the others."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.domain.attempt import Attempt, Ending, usage_event
from shared.contracts.runs import RunRequested
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE, Outcome
from shared.runtime.postgres import Pool
from tests.fakes.inference import a_request
from tests.realm import PoolFor

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(pool_for: PoolFor) -> Pool:
    return await pool_for(INFERENCE)


def _attempt(request: RunRequested) -> Attempt:
    return Attempt(request.run_id, 1, new_id(), f"worker-{uuid4().hex}", datetime.now(UTC))


async def _claims(
    store: PostgresAttemptStore, requests: Sequence[RunRequested]
) -> list[bool | BaseException]:
    claims = [store.claim(_attempt(request), request) for request in requests]
    return await asyncio.gather(*claims, return_exceptions=True)


async def test_many_claims_and_ends_take_few_transactions(pool: Pool) -> None:
    store, requests = PostgresAttemptStore(pool), [a_request() for _ in range(100)]
    attempts = [_attempt(request) for request in requests]
    claims = [store.claim(attempt, run) for attempt, run in zip(attempts, requests, strict=True)]
    assert await asyncio.gather(*claims) == [True] * 100
    ends = [
        store.finish(usage_event(run, attempt, Ending(Outcome.COMPLETED), datetime.now(UTC)), None)
        for attempt, run in zip(attempts, requests, strict=True)
    ]
    assert await asyncio.gather(*ends) == [True] * 100

    count = "select count(distinct xmin::text) from attempts where run_id = any($1) and outcome is not null"
    assert await pool.fetchval(count, [request.run_id for request in requests]) <= 5


async def test_one_that_the_database_refuses_harms_no_other(pool: Pool) -> None:
    requests = [a_request() for _ in range(20)]
    requests[7] = requests[7].model_copy(update={"user_id": "a\0nn"})

    claimed = await _claims(PostgresAttemptStore(pool), requests)

    assert isinstance(claimed.pop(7), Exception)
    assert claimed == [True] * 19


async def test_a_row_that_somebody_has_locked_keeps_nobody_waiting(pool: Pool) -> None:
    """A sweep locks those that it publishes, for as long as the bus takes."""
    store, locked = PostgresAttemptStore(pool), a_request()
    await store.claim(_attempt(locked), locked)
    async with pool.acquire() as other, other.transaction():
        await other.execute("select from attempts where run_id = $1 for no key update", locked.run_id)
        async with asyncio.timeout(2):
            claimed = await _claims(store, [locked, *(a_request() for _ in range(5))])
    assert claimed == [False, *[True] * 5]


async def test_workers_that_want_the_same_runs_in_another_order_each_get_an_answer(pool: Pool) -> None:
    requests = [a_request() for _ in range(100)]
    one, other = await asyncio.gather(
        _claims(PostgresAttemptStore(pool), requests),
        _claims(PostgresAttemptStore(pool), requests[::-1]),
    )
    assert [mine is not others for mine, others in zip(one, other[::-1], strict=True)] == [True] * 100


async def test_of_two_ends_of_one_attempt_the_first_counts(pool: Pool) -> None:
    store, request = PostgresAttemptStore(pool), a_request()
    attempt = _attempt(request)
    await store.claim(attempt, request)
    endings = (Ending(Outcome.COMPLETED), Ending(Outcome.CANCELLED))
    usages = [usage_event(request, attempt, ending, datetime.now(UTC)) for ending in endings]

    assert await asyncio.gather(*(store.finish(usage, None) for usage in usages)) == [True, False]
    kept = await pool.fetchval("select outcome from attempts where run_id = $1", request.run_id)
    assert kept == "completed"
