"""What marks of platform keys promise, held by the fake and by Postgres."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.key_vault.adapters.postgres_marks import PostgresPlatformMarks
from services.key_vault.domain.platform import PlatformMark
from services.key_vault.ports import PlatformMarks
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.names import KEY_VAULT, KeyService, PlatformKeyState
from tests.fakes.key_vault_house import soon
from tests.fakes.key_vault_pools import InMemoryPlatformMarks
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

NOON = soon(0)


def an_id() -> str:
    return f"platform:openai:{uuid4().hex[:12]}"


def out(credential_id: str, at: datetime = NOON) -> PlatformMark:
    return PlatformMark(
        credential_id, KeyService.OPENAI, PlatformKeyState.OUT, None, "system_key_exhausted", at
    )


def cooling(credential_id: str, seconds: float, at: datetime = NOON) -> PlatformMark:
    until = at + timedelta(seconds=seconds)
    return PlatformMark(
        credential_id, KeyService.OPENAI, PlatformKeyState.COOLING, until, "provider_rate_limited", at
    )


async def only(marks: PlatformMarks, credential_id: str) -> PlatformMark | None:
    found = [mark for mark in await marks.marks() if mark.credential_id == credential_id]
    assert len(found) <= 1
    return found[0] if found else None


def by_strength(key: str) -> Iterator[PlatformMark]:
    """Return marks, each stronger than those before it."""
    yield cooling(key, 5)
    yield cooling(key, 40)
    yield cooling(key, 3, at=NOON + timedelta(seconds=60))
    yield out(key)
    yield out(key, at=NOON + timedelta(seconds=9))


class MarksContract:
    async def test_what_was_marked_is_there_until_it_is_cleared(self, marks: PlatformMarks) -> None:
        first, second, unmarked = an_id(), an_id(), an_id()
        await marks.mark([cooling(first, 12.5), out(second)])
        assert await only(marks, first) == cooling(first, 12.5)
        assert await only(marks, second) == out(second)
        assert await only(marks, unmarked) is None
        assert await marks.clear(first)
        assert not await marks.clear(first)
        assert await only(marks, first) is None
        assert await only(marks, second) == out(second)

    async def test_the_stronger_mark_stays_in_whichever_order_they_come(self, marks: PlatformMarks) -> None:
        """Out before cooling, of two outs the later, of two coolings the longer."""
        for weaker, stronger in _pairs():
            for pair in permutations((weaker, stronger)):
                await marks.clear(weaker.credential_id)
                for mark in pair:
                    await marks.mark([mark])
                assert await only(marks, weaker.credential_id) == stronger

    async def test_one_batch_may_say_many_things_of_one_key(self, marks: PlatformMarks) -> None:
        first, second = an_id(), an_id()
        strong = [*by_strength(first)]
        await marks.mark([*reversed(strong), cooling(second, 3), *strong])
        assert await only(marks, first) == strong[-1]
        assert await only(marks, second) == cooling(second, 3)

    async def test_the_same_twice_is_the_same(self, marks: PlatformMarks) -> None:
        key = an_id()
        await marks.mark([out(key)])
        await marks.mark([out(key)])
        assert await only(marks, key) == out(key)

    async def test_a_cleared_key_can_be_marked_again(self, marks: PlatformMarks) -> None:
        key = an_id()
        await marks.mark([out(key)])
        await marks.clear(key)
        await marks.mark([cooling(key, 5)])
        assert await only(marks, key) == cooling(key, 5)

    async def test_batches_that_cross_do_not_deadlock(self, marks: PlatformMarks) -> None:
        keys = [an_id() for _ in range(20)]
        batches = [[cooling(key, 5 + turn) for key in (keys, keys[::-1])[turn % 2]] for turn in range(16)]
        await asyncio.gather(*map(marks.mark, batches))
        assert [await only(marks, key) for key in keys] == [cooling(key, 20) for key in keys]


def _pairs() -> Iterator[tuple[PlatformMark, PlatformMark]]:
    strong = [*by_strength(an_id())]
    for place, weaker in enumerate(strong):
        for stronger in strong[place + 1 :]:
            yield weaker, stronger


class TestInMemoryMarks(MarksContract):
    @pytest.fixture
    def marks(self) -> PlatformMarks:
        return InMemoryPlatformMarks()


class TestPostgresMarks(MarksContract):
    @pytest.fixture
    async def pool(self, pool_for: PoolFor) -> "asyncpg.Pool[Any]":
        return await pool_for(KEY_VAULT)

    @pytest.fixture
    def marks(self, pool: "asyncpg.Pool[Any]") -> PlatformMarks:
        return PostgresPlatformMarks(pool)

    async def test_another_replica_sees_it_at_once(self, marks: PlatformMarks, pool_for: PoolFor) -> None:
        key = an_id()
        await marks.mark([out(key)])
        assert await only(PostgresPlatformMarks(await pool_for(KEY_VAULT)), key) == out(key)

    async def test_postgres_away_is_said_so(self) -> None:
        lost = asyncpg.create_pool("postgres://nobody@127.0.0.1:9/x", min_size=0, timeout=1)
        async with lost:
            marks = PostgresPlatformMarks(lost)
            for call in (marks.marks(), marks.mark([out(an_id())]), marks.clear("x")):
                with pytest.raises(DatabaseUnavailableError):
                    await call
