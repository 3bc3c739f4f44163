"""What the attempt store promises, held by the fake and by Postgres."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.domain.attempt import Attempt, Ending, KeyUsed, usage_event
from services.inference.ports import AttemptStore
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunRequested
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.errors import DatabaseUnavailableError, ProviderRateLimitedError
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE, KeyPolicy, KeyService, KeySource, Outcome, TokensSource
from tests.fakes.inference import InMemoryAttemptStore, a_request
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

KEY = KeyUsed(
    KeySource.PLATFORM,
    "platform:openai:1",
    KeyService.OPENAI,
    consent_id="c-1",
    would_refuse_policy=KeyPolicy.USER_KEY_REQUIRED,
)
OWN_KEY = KeyUsed(KeySource.USER, "5f1e", KeyService.OPENAI, credential_version=2)


@pytest.fixture
def worker() -> str:
    return f"worker-{uuid4().hex}"


def an_attempt(request: RunRequested, worker: str, number: int = 1, key: KeyUsed | None = None) -> Attempt:
    return Attempt(request.run_id, number, new_id(), worker, datetime.now(UTC), key)


def usage_of(request: RunRequested, attempt: Attempt, outcome: Outcome = Outcome.COMPLETED) -> UsageRecorded:
    tokens = TokenCounts(prompt=7, completion=5, cached=2, reasoning=1, source=TokensSource.MEASURED)
    ending = Ending(outcome, tokens=tokens, usage_raw={"a": [1]}, provider_cost_usd="0.01", first_token_ms=3)
    return usage_event(request, attempt, ending, datetime.now(UTC))


class StoreContract:
    async def test_an_attempt_is_claimed_once(self, store: AttemptStore, worker: str) -> None:
        request = a_request()
        attempt = an_attempt(request, worker)

        assert await store.claim(attempt, request) is True
        assert await store.claim(an_attempt(request, "another"), request) is False

        [stored] = await store.attempts(request.run_id, stale_after_s=10)
        assert stored.attempt == attempt
        assert (stored.usage, stored.error) == (None, None)

    async def test_a_claim_of_unknown_fate_can_be_made_again(self, store: AttemptStore, worker: str) -> None:
        request = a_request()
        attempt = an_attempt(request, worker)
        await store.claim(attempt, request)

        assert await store.claim(attempt, request) is True
        await store.finish(usage_of(request, attempt), None)
        assert await store.claim(attempt, request) is False
        assert len(await store.attempts(request.run_id, stale_after_s=10)) == 1

    async def test_of_many_claims_at_once_one_wins(self, store: AttemptStore, worker: str) -> None:
        request = a_request()
        claims = [store.claim(an_attempt(request, worker), request) for _ in range(20)]

        assert sorted(await asyncio.gather(*claims)) == [False] * 19 + [True]

    @pytest.mark.parametrize("key", [KEY, OWN_KEY])
    async def test_the_key_is_noted(self, store: AttemptStore, worker: str, key: KeyUsed) -> None:
        request = a_request()
        attempt = an_attempt(request, worker)
        await store.claim(attempt, request)

        assert await store.note_key(replace(attempt, key=key)) is True

        [stored] = await store.attempts(request.run_id, stale_after_s=10)
        assert stored.attempt.key == key

    async def test_an_attempt_ends_once(self, store: AttemptStore, worker: str) -> None:
        request = a_request()
        attempt = an_attempt(request, worker)
        await store.claim(attempt, request)
        usage = usage_of(request, attempt)
        error = ErrorBody.of(ProviderRateLimitedError("slow down", service="openai", retry_after_s=2))

        assert await store.finish(usage, error) is True
        assert await store.finish(usage_of(request, attempt, Outcome.INTERRUPTED), None) is False
        assert await store.note_key(replace(attempt, key=KEY)) is False

        [stored] = await store.attempts(request.run_id, stale_after_s=10)
        assert (stored.usage, stored.error) == (usage, error)

    async def test_an_ending_of_unknown_fate_can_be_made_again(
        self, store: AttemptStore, worker: str
    ) -> None:
        request = a_request()
        attempt = an_attempt(request, worker)
        await store.claim(attempt, request)
        usage = usage_of(request, attempt)

        assert [await store.finish(usage, None) for _ in range(2)] == [True, True]

    async def test_what_was_never_claimed_does_not_end(self, store: AttemptStore, worker: str) -> None:
        request = a_request()

        assert await store.finish(usage_of(request, an_attempt(request, worker)), None) is False
        assert await store.note_key(an_attempt(request, worker, key=KEY)) is False
        assert await store.attempts(request.run_id, stale_after_s=10) == ()

    async def test_attempts_come_in_order_with_their_keys(self, store: AttemptStore, worker: str) -> None:
        request = a_request()
        attempts = [
            an_attempt(request, worker, number, key) for number, key in ((2, KEY), (1, OWN_KEY), (3, KEY))
        ]
        for attempt in attempts:
            await store.claim(attempt, request)
        await store.claim(an_attempt(a_request(), worker), a_request())

        stored = await store.attempts(request.run_id, stale_after_s=10)

        assert [row.attempt for row in stored] == sorted(attempts, key=lambda attempt: attempt.number)

    async def test_a_worker_is_stale_when_it_has_not_beaten_for_long(
        self, store: AttemptStore, worker: str
    ) -> None:
        request = a_request()
        await store.claim(an_attempt(request, worker), request)

        async def is_stale(after_s: float) -> bool:
            return (await store.attempts(request.run_id, stale_after_s=after_s))[0].stale

        assert await is_stale(10) is True
        await store.beat(worker)
        assert await is_stale(10) is False
        await asyncio.sleep(0.05)
        assert await is_stale(0.02) is True
        await store.beat(worker)
        assert await is_stale(10) is False


class TestInMemoryAttemptStore(StoreContract):
    @pytest.fixture
    def store(self) -> AttemptStore:
        return InMemoryAttemptStore()


class TestPostgresAttemptStore(StoreContract):
    @pytest.fixture
    async def store(self, pool_for: PoolFor) -> AttemptStore:
        return PostgresAttemptStore(await pool_for(INFERENCE))

    async def test_the_table_itself_refuses_a_second_ending(self, pool_for: PoolFor, worker: str) -> None:
        pool = await pool_for(INFERENCE)
        store, request = PostgresAttemptStore(pool), a_request()
        attempt = an_attempt(request, worker)
        await store.claim(attempt, request)
        await store.finish(usage_of(request, attempt), None)

        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await pool.execute("update attempts set outcome = 'failed' where run_id = $1", request.run_id)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("delete from attempts where run_id = $1", request.run_id)

    async def test_without_a_database_it_says_so(self, pool_for: PoolFor, worker: str) -> None:
        pool = await pool_for(INFERENCE)
        store, request = PostgresAttemptStore(pool), a_request()
        await pool.close()
        calls = [
            store.claim(an_attempt(request, worker), request),
            store.note_key(an_attempt(request, worker)),
            store.finish(usage_of(request, an_attempt(request, worker)), None),
            store.attempts(request.run_id, stale_after_s=10),
            store.beat(worker),
        ]

        failures = await asyncio.gather(*calls, return_exceptions=True)

        assert {type(failure) for failure in failures} == {DatabaseUnavailableError}
