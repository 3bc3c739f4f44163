"""What the attempt store promises, held by the fake and by Postgres."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.adapters.postgres_outbox import PostgresOutbox
from services.inference.domain.attempt import Attempt, Ending, KeyUsed, usage_event
from services.inference.ports import AbandonedAttempt, AttemptStore, Outbox
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunRequested
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.errors import (
    BusUnavailableError,
    DatabaseUnavailableError,
    ProviderRateLimitedError,
    WorkerLostError,
)
from shared.kernel.ids import first_id_of, new_id
from shared.kernel.names import INFERENCE, KeyPolicy, KeyService, KeySource, Outcome, TokensSource
from tests.fakes.inference import a_request
from tests.fakes.inference_store import InMemoryAttemptStore
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

    async def test_an_attempt_is_abandoned_long_after_its_deadline_and_without_a_heart(
        self, store: AttemptStore, worker: str
    ) -> None:
        now = datetime.now(UTC)
        late = a_request(deadline=now - timedelta(seconds=90), policy=KeyPolicy.SYSTEM, stream=True)
        requests = [late, a_request(deadline=now - timedelta(seconds=30)), a_request()]
        for request in requests:
            await store.claim(an_attempt(request, worker, key=KEY), request)
        ended = a_request(deadline=now - timedelta(seconds=90))
        await store.claim(attempt := an_attempt(ended, worker), ended)
        await store.finish(usage_of(ended, attempt), None)

        async def abandoned(own: str = "another") -> list[AbandonedAttempt]:
            found = await store.abandoned(own=own, stale_after_s=10, overdue_s=60, limit=1000)
            return [each for each in found if each.attempt.worker == worker]

        [found] = await abandoned()
        assert (found.attempt.run_id, found.attempt.key) == (late.run_id, KEY)
        error = WorkerLostError()
        lost = Ending(Outcome.INTERRUPTED, error)
        assert usage_event(found.run, found.attempt, lost, now) == usage_event(late, found.attempt, lost, now)
        await store.beat(worker)
        assert await abandoned() == []
        assert [each.attempt.run_id for each in await abandoned(own=worker)] == [late.run_id]


class OutboxContract:
    """The rows of an attempt store, as its outbox. Each test looks at its own rows: the table is shared."""

    async def ended(self, store: AttemptStore, count: int = 1, ago_s: float = 60) -> list[UsageRecorded]:
        usages = []
        for number in range(count):
            request = a_request()
            await store.claim(attempt := an_attempt(request, "worker"), request)
            at = datetime.now(UTC) - timedelta(seconds=ago_s - number / 1000)
            usage = usage_event(request, attempt, Ending(Outcome.COMPLETED), at)
            await store.finish(usage, None)
            usages.append(usage)
        return usages

    async def test_what_has_ended_is_published_once_by_a_sweep(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        usages = await self.ended(store, 5)
        sent = Sent()

        await sent.all_of(outbox)

        assert sent.of(usages) == usages
        again = Sent()
        await again.all_of(outbox)
        assert again.of(usages) == []

    async def test_what_is_noted_is_not_swept(self, store: AttemptStore, outbox: Outbox) -> None:
        noted, left = await self.ended(store, 2)

        for _ in range(2):
            await outbox.note_published([noted.usage_id, new_id()])
        sent = Sent()
        await sent.all_of(outbox)

        assert sent.of([noted, left]) == [left]

    async def test_what_ended_just_now_is_left_to_its_worker(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        usages = await self.ended(store, ago_s=1)
        sent = Sent()

        await sent.all_of(outbox, ended_before_s=5)
        assert sent.of(usages) == []
        await sent.all_of(outbox, ended_before_s=0)
        assert sent.of(usages) == usages

    async def test_what_has_not_ended_is_neither_swept_nor_noted(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        request = a_request()
        await store.claim(attempt := an_attempt(request, "worker"), request)
        sent = Sent()

        await outbox.note_published([attempt.usage_id])
        await store.finish(usage := usage_of(request, attempt), None)
        await sent.all_of(outbox, ended_before_s=-1)

        assert sent.of([usage]) == [usage]

    async def test_no_more_than_asked_for_and_the_oldest_first(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        await Sent().all_of(outbox, ended_before_s=-1)  # nothing of others' is left
        usages = await self.ended(store, 5)
        sent = Sent()

        counts = [await outbox.relay(sent, ended_before_s=5, limit=2) for _ in range(4)]

        assert counts == [2, 2, 1, 0]
        assert sent.of(usages) == usages

    async def of_old_runs(
        self, store: AttemptStore, outbox: Outbox, *, days: int, deadline: datetime | None = None
    ) -> list[RunRequested]:
        """A published attempt of each, the oldest first."""
        long_ago = datetime(2019, 1, 1, tzinfo=UTC) + timedelta(milliseconds=secrets.randbelow(10**9))
        requests = [
            a_request(run_id=first_id_of(born), deadline=deadline or born)
            for born in (long_ago + timedelta(days=day) for day in range(days))
        ]
        for request in requests:
            await store.claim(attempt := an_attempt(request, "worker"), request)
            await store.finish(usage_of(request, attempt), None)
            await outbox.note_published([attempt.usage_id])
        return requests

    async def are_known(self, store: AttemptStore, requests: Sequence[RunRequested]) -> list[bool]:
        return [bool(await store.attempts(one.run_id, stale_after_s=10)) for one in requests]

    async def test_old_attempts_are_forgotten_the_oldest_first(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        requests = await self.of_old_runs(store, outbox, days=4)

        assert await outbox.forget(requests[3].run_id, limit=2) == 2
        assert await self.are_known(store, requests) == [False, False, True, True]
        assert await outbox.forget(requests[3].run_id, limit=2) == 1
        assert await self.are_known(store, requests) == [False, False, False, True]
        assert await outbox.forget(requests[3].run_id, limit=2) == 0

    async def test_nothing_is_forgotten_of_a_run_that_is_not_all_published(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        published, ended, going_on = await self.of_old_runs(store, outbox, days=3)
        for request in (ended, going_on):
            await store.claim(attempt := an_attempt(request, "worker", 2), request)
            if request is ended:
                await store.finish(usage_of(request, attempt), None)

        await outbox.forget(first_id_of(datetime(2020, 1, 1, tzinfo=UTC)), limit=1000)

        assert await self.are_known(store, [published, ended, going_on]) == [False, True, True]
        assert len(await store.attempts(ended.run_id, stale_after_s=10)) == 2

    async def test_nothing_is_forgotten_whose_deadline_is_not_a_day_past(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        a_day_ago = datetime.now(UTC) - timedelta(days=1)
        late = await self.of_old_runs(store, outbox, days=1, deadline=a_day_ago + timedelta(minutes=1))
        over = await self.of_old_runs(store, outbox, days=1, deadline=a_day_ago - timedelta(minutes=1))

        await outbox.forget(new_id(), limit=1000)

        assert await self.are_known(store, [*late, *over]) == [True, False]

    async def test_two_workers_share_them(self, store: AttemptStore, outbox: Outbox) -> None:
        usages = await self.ended(store, 20)
        first, second = Sent(delay_s=0.1), Sent(delay_s=0.1)

        await asyncio.gather(*(outbox.relay(sent, ended_before_s=5, limit=12) for sent in (first, second)))
        rest = Sent()
        await rest.all_of(outbox)

        counted = [len(sent.of(usages)) for sent in (first, second, rest)]
        assert (sum(counted), counted[1] > 0) == (20, True)

    async def test_the_note_of_a_slow_publish_does_not_wait_for_the_sweep_of_it(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        usages = await self.ended(store)
        sent = Sent(delay_s=0.5)
        sweeping = asyncio.create_task(sent.all_of(outbox))
        await asyncio.sleep(0.1)

        async with asyncio.timeout(0.3):
            await outbox.note_published([usages[0].usage_id])
        await sweeping

        assert sent.of(usages) == usages

    async def test_what_cannot_be_published_stays_and_the_rest_is_noted(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        await Sent().all_of(outbox, ended_before_s=-1)
        usages = await self.ended(store, 3)
        sent = Sent(refuses={usages[1].usage_id})

        with pytest.raises(BusUnavailableError):
            await outbox.relay(sent, ended_before_s=5, limit=10)
        again = Sent()
        await again.all_of(outbox)

        assert again.of(usages) == [usages[1]]


@dataclass
class Sent:
    """Takes what is published; but for those that it refuses."""

    delay_s: float = 0
    refuses: set[UUID] = field(default_factory=set)
    events: list[UsageRecorded] = field(default_factory=list)

    async def __call__(self, usage: UsageRecorded) -> None:
        await asyncio.sleep(self.delay_s)
        if usage.usage_id in self.refuses:
            raise BusUnavailableError
        self.events.append(usage)

    async def all_of(self, outbox: Outbox, ended_before_s: float = 5) -> None:
        while await outbox.relay(self, ended_before_s=ended_before_s, limit=100):
            pass

    def of(self, usages: list[UsageRecorded]) -> list[UsageRecorded]:
        return [usage for usage in self.events if usage in usages]


class TestInMemoryAttemptStore(StoreContract, OutboxContract):
    @pytest.fixture
    def store(self) -> InMemoryAttemptStore:
        return InMemoryAttemptStore()

    @pytest.fixture
    def outbox(self, store: InMemoryAttemptStore) -> Outbox:
        return store


class TestPostgresAttemptStore(StoreContract, OutboxContract):
    @pytest.fixture
    async def store(self, pool_for: PoolFor) -> AttemptStore:
        return PostgresAttemptStore(await pool_for(INFERENCE))

    @pytest.fixture
    async def outbox(self, pool_for: PoolFor) -> Outbox:
        return PostgresOutbox(await pool_for(INFERENCE))

    async def test_the_table_itself_refuses_a_second_ending(self, pool_for: PoolFor, worker: str) -> None:
        pool = await pool_for(INFERENCE)
        store, request = PostgresAttemptStore(pool), a_request()
        attempt = an_attempt(request, worker)
        await store.claim(attempt, request)
        await store.finish(usage_of(request, attempt), None)

        for change in (
            "outcome = 'failed'",
            "published_at = null",
            "published_at = now(), outcome = 'failed'",
            "published_at = now(), usage = '{}'",
            "published_at = now(), ended_at = now()",
            "published_at = now(), credential_id = 'another'",
            "published_at = now(), usage_id = gen_random_uuid()",
        ):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await pool.execute(f"update attempts set {change} where run_id = $1", request.run_id)  # noqa: S608
        note = "update attempts set published_at = now() where run_id = $1"
        assert await pool.execute(note, request.run_id) == "UPDATE 1"
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await pool.execute(note, request.run_id)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("update attempts set user_id = 'bob' where run_id = $1", request.run_id)
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
            store.abandoned(own=worker, stale_after_s=10, overdue_s=60, limit=1),
            store.beat(worker),
            PostgresOutbox(pool).note_published([new_id()]),
            PostgresOutbox(pool).relay(Sent(), ended_before_s=5, limit=1),
        ]

        failures = await asyncio.gather(*calls, return_exceptions=True)

        assert {type(failure) for failure in failures} == {DatabaseUnavailableError}
