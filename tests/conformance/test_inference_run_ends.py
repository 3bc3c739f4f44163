"""What the store of kept runs' ends promises, held by the fake and by Postgres."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.adapters.postgres_outbox import PostgresOutbox
from services.inference.domain.attempt import Attempt, Ending, usage_event
from services.inference.domain.run_end import run_ended
from services.inference.ports import AttemptStore, Outbox
from shared.contracts.runs import RunEnded, RunRequested
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import BusUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE, Outcome
from tests.fakes.inference import a_request
from tests.fakes.inference_store import InMemoryAttemptStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance


@dataclass
class Told:
    """Takes what is published, unless the bus is away."""

    away: bool = False
    ends: list[RunEnded] = field(default_factory=list)

    async def __call__(self, end: RunEnded) -> None:
        if self.away:
            raise BusUnavailableError
        self.ends.append(end)


def usage_of(request: RunRequested, attempt: Attempt) -> UsageRecorded:
    return usage_event(request, attempt, Ending(Outcome.COMPLETED), datetime.now(UTC) - timedelta(seconds=9))


class EndsContract:
    async def ended(self, store: AttemptStore, text: str = "x") -> RunEnded:
        request = a_request(kept=True, session_id="s")
        attempt = Attempt(request.run_id, 1, new_id(), uuid4().hex, datetime.now(UTC))
        await store.claim(attempt, request)
        usage = usage_of(request, attempt)
        end = run_ended([usage], None, None, (text,))
        assert await store.finish(usage, None, end)
        return end

    async def all_of(self, outbox: Outbox) -> list[RunEnded]:
        told = Told()
        while await outbox.relay_ends(told, ended_before_s=5, limit=100):
            pass
        return told.ends

    async def test_an_end_is_there_until_it_is_told(self, store: AttemptStore, outbox: Outbox) -> None:
        end = await self.ended(
            store, "\x00 \ud83d\ude00 é".encode("utf-16", "surrogatepass").decode("utf-16")
        )
        assert end in await self.all_of(outbox)
        assert end not in await self.all_of(outbox)

    async def test_what_is_dropped_is_not_told(self, store: AttemptStore, outbox: Outbox) -> None:
        end = await self.ended(store)
        await outbox.drop_ends([end.run_id, new_id()])
        assert end not in await self.all_of(outbox)

    async def test_what_cannot_be_told_stays(self, store: AttemptStore, outbox: Outbox) -> None:
        end = await self.ended(store)
        with pytest.raises(BusUnavailableError):
            await outbox.relay_ends(Told(away=True), ended_before_s=5, limit=100)
        assert end in await self.all_of(outbox)

    async def test_what_ended_just_now_is_left_to_its_worker(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        end, told = await self.ended(store), Told()
        await outbox.relay_ends(told, ended_before_s=60, limit=100)
        assert end not in told.ends

    async def test_an_end_that_could_not_be_written_twice_is_written_once(
        self, store: AttemptStore, outbox: Outbox
    ) -> None:
        request = a_request(kept=True)
        attempt = Attempt(request.run_id, 1, new_id(), uuid4().hex, datetime.now(UTC))
        await store.claim(attempt, request)
        usage = usage_of(request, attempt)
        end = run_ended([usage], None)
        answers = await asyncio.gather(*(store.finish(usage, None, end) for _ in range(5)))
        assert answers == [True] * 5
        assert (await self.all_of(outbox)).count(end) == 1

    async def test_what_was_ended_otherwise_leaves_no_end(self, store: AttemptStore, outbox: Outbox) -> None:
        request = a_request(kept=True)
        attempt = Attempt(request.run_id, 1, new_id(), uuid4().hex, datetime.now(UTC))
        await store.claim(attempt, request)
        await store.finish(usage_of(request, attempt), None)
        late = usage_of(request, attempt)
        assert not await store.finish(late, None, run_ended([late], None))
        assert request.run_id not in {end.run_id for end in await self.all_of(outbox)}


class TestInMemory(EndsContract):
    @pytest.fixture
    def store(self) -> InMemoryAttemptStore:
        return InMemoryAttemptStore()

    @pytest.fixture
    def outbox(self, store: InMemoryAttemptStore) -> Outbox:
        return store


class TestPostgres(EndsContract):
    @pytest.fixture
    async def store(self, pool_for: PoolFor) -> AttemptStore:
        return PostgresAttemptStore(await pool_for(INFERENCE))

    @pytest.fixture
    async def outbox(self, pool_for: PoolFor) -> Outbox:
        return PostgresOutbox(await pool_for(INFERENCE))
