"""What the edge's store of councils promises, held by the fake and by Postgres."""

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.api_edge.adapters.postgres import Database
from services.api_edge.adapters.postgres_councils import PostgresCouncilStore
from services.api_edge.domain.council import Council, CouncilMember, Question
from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.ports import CouncilStore
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.ids import first_id_of, new_id
from shared.kernel.names import API_EDGE, KeyService, Role
from tests.fakes.api_edge_councils import InMemoryCouncilStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

_NOW = datetime.now(UTC)
_QUESTION = Question("openai/gpt-4o", None, Role.USER, {"messages": [{"content": "\x00 é 😀"}]})


@pytest.fixture
def memory() -> CouncilStore:
    return InMemoryCouncilStore()


@pytest.fixture
async def postgres(pool_for: PoolFor) -> CouncilStore:
    return PostgresCouncilStore(Database(await pool_for(API_EDGE)))


@pytest.fixture(params=["memory", "postgres"])
def councils(request: pytest.FixtureRequest) -> CouncilStore:
    found: CouncilStore = request.getfixturevalue(request.param)
    return found


def a_council(**changes: Any) -> Council:
    council = Council(
        council_id=new_id(),
        user_id=f"user-{secrets.token_hex(6)}",
        members=(
            CouncilMember("openai/gpt-4o-mini", KeyService.OPENAI, new_id()),
            CouncilMember("groq/x", KeyService.GROQ, None),
        ),
        synthesis_id=new_id(),
        created_at=_NOW,
        deadline=_NOW + timedelta(seconds=600),
        session_id="s",
        idempotency=Idempotency("k", b"\x01" * 32),
        question=_QUESTION,
    )
    return replace(council, **changes)


async def test_a_council_is_its_owners(councils: CouncilStore) -> None:
    council = a_council()
    assert await councils.keep(council) is None
    assert await councils.find(council.user_id, council.council_id) == council
    assert await councils.find("bob", council.council_id) is None
    assert await councils.find(council.user_id, new_id()) is None


async def test_an_idempotency_key_is_one_council_of_a_user(councils: CouncilStore) -> None:
    first = a_council()
    others = [a_council(user_id=first.user_id) for _ in range(5)]
    found = await asyncio.gather(*(councils.keep(one) for one in (first, *others)))
    assert found.count(None) == 1
    assert len({one.council_id for one in found if one is not None}) == 1
    assert await councils.keep(a_council()) is None


async def test_without_a_key_each_is_one(councils: CouncilStore) -> None:
    council = a_council(idempotency=None)
    assert await councils.keep(council) is None
    assert await councils.keep(a_council(user_id=council.user_id, idempotency=None)) is None


async def test_closed_it_asks_nothing_and_let_go_its_key_is_free(councils: CouncilStore) -> None:
    council = a_council()
    await councils.keep(council)
    await councils.close(council.council_id)
    assert await councils.find(council.user_id, council.council_id) == replace(council, question=None)
    again = a_council(user_id=council.user_id)
    assert await councils.keep(again) == replace(council, question=None)
    await councils.close(council.council_id, free=True)
    assert await councils.keep(again) is None


async def test_a_key_that_several_let_go_at_once_goes_to_one(councils: CouncilStore) -> None:
    dead = a_council()
    await councils.keep(dead)

    async def keep_anew() -> Council | None:
        await councils.close(dead.council_id, free=True)
        return await councils.keep(a_council(user_id=dead.user_id))

    found = await asyncio.gather(*(keep_anew() for _ in range(5)))
    assert found.count(None) == 1
    assert len({one.council_id for one in found if one is not None} - {dead.council_id}) == 1


async def test_pages_are_newest_first_and_ones_own(councils: CouncilStore) -> None:
    user_id = f"user-{secrets.token_hex(6)}"
    kept = [
        a_council(user_id=user_id, idempotency=None, session_id="one" if number % 2 else None)
        for number in range(5)
    ]
    for council in (*kept, a_council()):
        await councils.keep(council)
    first = await councils.page(user_id, limit=2, before=None, session_id=None)
    assert first == (kept[4], kept[3])
    rest = await councils.page(user_id, limit=9, before=kept[3].council_id, session_id=None)
    assert rest == (kept[2], kept[1], kept[0])
    assert await councils.page(user_id, limit=9, before=None, session_id="one") == (kept[3], kept[1])


async def test_questions_are_forgotten_after_the_deadline(councils: CouncilStore) -> None:
    late = a_council(deadline=_NOW - timedelta(seconds=1))
    in_time = a_council()
    for council in (late, in_time):
        await councils.keep(council)
    assert await councils.sweep(_NOW) >= 1
    assert await councils.find(late.user_id, late.council_id) == replace(late, question=None)
    assert await councils.find(in_time.user_id, in_time.council_id) == in_time


async def test_old_ones_are_forgotten_when_they_have_asked_their_question(councils: CouncilStore) -> None:
    long_ago = datetime(2019, 1, 1, tzinfo=UTC)
    days = [first_id_of(long_ago + timedelta(days=day)) for day in range(3)]
    old = [a_council(council_id=council_id, question=None) for council_id in days]
    asking, fresh = a_council(council_id=first_id_of(long_ago - timedelta(days=1))), a_council(question=None)
    for council in (*old, asking, fresh):
        await councils.keep(council)
    assert await councils.forget(old[2].council_id, limit=1) == 1
    assert await councils.forget(old[2].council_id, limit=9) == 1
    assert await councils.forget(new_id(), limit=9) == 1  # and nothing of the last day
    left = [await councils.find(one.user_id, one.council_id) for one in (*old, asking, fresh)]
    assert left == [None, None, None, asking, fresh]


async def test_without_a_database_it_says_so(pool_for: PoolFor) -> None:
    pool = await pool_for(API_EDGE)
    await pool.close()
    with pytest.raises(DatabaseUnavailableError):
        await PostgresCouncilStore(Database(pool)).find("alice", new_id())
