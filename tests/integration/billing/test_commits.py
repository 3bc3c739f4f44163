"""At every commit, balances equal the sum of their entries: somebody looks all the while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import asyncpg
import pytest

from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.domain.movement import plan
from shared.kernel.errors import InsufficientCreditsError
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, TransferCause
from tests.fakes.billing import grant, hold_for, movement, rated, usage
from tests.realm import PoolFor, TestRealm

pytestmark = pytest.mark.integration

_SEED: Final = 11
_DIFFERENCES: Final = """
SELECT id FROM billing.ledger_check WHERE posted_micros <> transfers_micros OR held_micros <> holds_micros
UNION ALL SELECT NULL FROM billing.ledger_faults
"""
_MOVED: Final = "SELECT sum(abs(posted_micros) + held_micros) FROM billing.accounts"


class Observer:
    """Looks again and again, each time at one moment. `moments`: what it saw of all accounts together."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection
        self.moments: set[int] = set()
        self.differences: list[Any] = []

    async def look(self) -> None:
        while True:
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                self.moments.add(int(await self._connection.fetchval(_MOVED)))
                self.differences += await self._connection.fetch(_DIFFERENCES)


@asynccontextmanager
async def observing(realm: TestRealm) -> AsyncIterator[Observer]:
    connection = await asyncpg.connect(realm.admin["LATCHKEY_POSTGRES_URL"])
    observer = Observer(connection)
    looking = asyncio.create_task(observer.look())
    try:
        yield observer
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await connection.close()


class Somebody:
    """Does what billing is asked to do, in random order, for users that others use at the same time."""

    def __init__(self, pool: "asyncpg.Pool[Any]", users: list[str], random: Random) -> None:
        self._ledger, self._credits = PostgresLedgerStore(pool), PostgresCreditStore(pool)
        self._users = users
        self._random = random

    async def act(self) -> None:
        await self._random.choice([self._run, self._run, self._move, self._expire])()

    async def _run(self) -> None:
        batch = [usage(user_id=self._random.choice(self._users)) for _ in range(20)]
        soon = datetime.now(UTC) + timedelta(milliseconds=self._random.choice([0, 60_000]))
        holds = [hold_for(one.event, 3_000, expires_at=soon) for one in batch[5:]]
        await self._ledger.authorize(holds)
        await self._ledger.record(batch + batch[:5], rated)

    async def _move(self) -> None:
        given = self._random.randint(1, 50_000)
        cause, micros = self._random.choice(
            [
                (TransferCause.GRANT, given),
                (TransferCause.ADJUSTMENT, given),
                (TransferCause.ADJUSTMENT, -given),
                (TransferCause.DEDUCTION, -given),
            ]
        )
        with suppress(InsufficientCreditsError):
            await self._credits.move(movement(cause, self._random.choice(self._users), micros), plan)

    async def _expire(self) -> None:
        await self._ledger.expire_holds(datetime.now(UTC))


async def test_nobody_ever_sees_a_difference(realm: TestRealm, pool_for: PoolFor) -> None:
    pool = await pool_for(BILLING)
    await PostgresLedgerStore(pool).expire_holds(datetime.now(UTC))  # what other tests left open
    users = [f"user-{new_id()}" for _ in range(5)]
    for user in users:
        await PostgresCreditStore(pool).move(grant(user, 1_000_000), plan)
    async with observing(realm) as observer:

        async def live(random: Random) -> None:
            somebody = Somebody(pool, users, random)
            for _ in range(25):
                await somebody.act()

        await asyncio.gather(*(live(Random(f"{_SEED} {n}")) for n in range(6)))
    assert observer.differences == []
    assert len(observer.moments) > 10
