"""What the edge's store of kept runs promises, held by the fake and by Postgres."""

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.api_edge.adapters.postgres import Database
from services.api_edge.adapters.postgres_runs import PostgresRunStore
from services.api_edge.domain.errors import OverLimitError
from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.runs import KeptRun, RunOwner, RunRecord
from services.api_edge.domain.sizes import ANY_SIZE
from services.api_edge.ports import RunStore
from services.api_edge.use_cases.back_pressure import BackPressure
from services.api_edge.use_cases.run_guard import RunGuard
from shared.contracts.runs import RunEnded
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.ids import first_id_of, new_id
from shared.kernel.names import API_EDGE, KeySource, Outcome
from tests.fakes.api_edge_runs import InMemoryRunStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

_NOW = datetime.now(UTC)


@pytest.fixture
def memory() -> RunStore:
    return InMemoryRunStore()


@pytest.fixture
async def postgres(pool_for: PoolFor) -> RunStore:
    return PostgresRunStore(Database(await pool_for(API_EDGE)))


@pytest.fixture(params=["memory", "postgres"])
def runs(request: pytest.FixtureRequest) -> RunStore:
    found: RunStore = request.getfixturevalue(request.param)
    return found


def a_user() -> str:
    return f"user-{secrets.token_hex(6)}"


def a_record(user_id: str, run_id: UUID) -> RunRecord:
    return RunRecord(run_id, user_id, "chat", "openai/gpt-4o-mini", stream=True)


async def page_of(runs: RunStore, user_id: str) -> tuple[KeptRun, ...]:
    return await runs.page(user_id, limit=9, before=None, session_id=None)


async def ended_as(runs: RunStore, run: KeptRun) -> RunEnded:
    found = await runs.find(run.record.user_id, run.record.run_id)
    assert found is not None
    assert found.end is not None
    return found.end


def a_run(user_id: str, **changes: Any) -> KeptRun:
    run = KeptRun(
        record=a_record(user_id, new_id()),
        kind=RunKind.STREAM,
        created_at=_NOW,
        start_by=_NOW + timedelta(seconds=10),
        deadline=_NOW + timedelta(hours=1),
    )
    return replace(run, **changes)


async def no_queue() -> int:
    return 0


def an_end(run: KeptRun, **changes: Any) -> RunEnded:
    given = {
        "run_id": run.record.run_id,
        "user_id": run.record.user_id,
        "outcome": Outcome.COMPLETED,
        "key_source": KeySource.USER,
        "chunks": ("\x00", "é", "😀"),
        "ended_at": _NOW,
    }
    return RunEnded(**{**given, **changes})


async def test_an_id_is_one_run(runs: RunStore) -> None:
    run = a_run(a_user())
    kept = await asyncio.gather(*(runs.keep(run) for _ in range(5)))
    assert kept.count(None) == 1
    assert set(kept) == {None, run}


async def test_a_kept_run_is_its_owners(runs: RunStore) -> None:
    run = a_run(a_user(), session_id="s", council_id=new_id())
    assert await runs.keep(run) is None
    assert await runs.find(run.record.user_id, run.record.run_id) == run
    assert await runs.find("bob", run.record.run_id) is None


async def test_a_kept_run_goes_on_until_its_end(runs: RunStore) -> None:
    run = a_run(a_user())
    await runs.keep(run)
    assert await runs.owner(run.record.run_id) == RunOwner(run.record.user_id, goes_on=True)
    await runs.end([an_end(run)])
    assert await runs.owner(run.record.run_id) == RunOwner(run.record.user_id)


async def test_a_run_that_is_not_kept_is_not_found(runs: RunStore) -> None:
    record = a_run(a_user()).record
    await runs.add(record)
    assert await runs.find(record.user_id, record.run_id) is None


async def test_of_many_with_one_key_one_is_kept(runs: RunStore) -> None:
    user_id, key = a_user(), Idempotency("k", secrets.token_bytes(32))
    asked = [a_run(user_id, idempotency=key) for _ in range(20)]
    answers = await asyncio.gather(*(runs.keep(run) for run in asked))
    (won,) = [run for run, before in zip(asked, answers, strict=True) if before is None]
    assert [before for before in answers if before is not None] == [won] * 19
    assert await runs.keep(a_run(a_user(), idempotency=key)) is None


async def test_a_key_that_is_let_go_is_free(runs: RunStore) -> None:
    user_id, key = a_user(), Idempotency("k", secrets.token_bytes(32))
    first, second = a_run(user_id, idempotency=key), a_run(user_id, idempotency=key)
    await runs.keep(first)
    await runs.free(first.record.run_id)
    assert await runs.keep(second) is None
    assert await runs.keep(replace(second, record=a_run(user_id).record)) == second
    freed = await runs.find(user_id, first.record.run_id)
    assert freed is not None
    assert (freed.idempotency, freed.outcome, freed.end) == (None, Outcome.CANCELLED, None)


async def test_what_ended_keeps_its_end_when_its_key_is_let_go(runs: RunStore) -> None:
    run = a_run(a_user(), idempotency=Idempotency("k", secrets.token_bytes(32)))
    end = an_end(run)
    await runs.keep(run)
    await runs.end([end])
    await runs.free(run.record.run_id)
    found = await runs.find(run.record.user_id, run.record.run_id)
    assert found == replace(run, idempotency=None, outcome=Outcome.COMPLETED, ended_at=_NOW, end=end)


async def test_runs_go_on_until_they_end_are_let_go_or_pass_their_deadline(runs: RunStore) -> None:
    user_id, past = a_user(), _NOW - timedelta(seconds=1)
    ended, freed, going_on = (a_run(user_id) for _ in range(3))
    for run in (a_run(user_id, start_by=past, deadline=past), a_run(a_user()), ended, freed, going_on):
        assert await runs.keep(run, 3) is None
    with pytest.raises(OverLimitError):
        await runs.keep(a_run(user_id), 3)
    await runs.end([an_end(ended)])
    await runs.free(freed.record.run_id)
    assert [await runs.keep(a_run(user_id), 3) for _ in range(2)] == [None, None]
    with pytest.raises(OverLimitError):
        await runs.keep(a_run(user_id), 3)
    assert await runs.keep(a_run(user_id)) is None, "without a limit"


async def test_who_comes_back_for_a_run_is_never_one_too_many(runs: RunStore) -> None:
    run = a_run(a_user(), idempotency=Idempotency("k", secrets.token_bytes(32)))
    again = a_run(run.record.user_id, idempotency=run.idempotency)
    assert await runs.keep(run, 1) is None
    assert [await runs.keep(one, 1) for one in (run, again)] == [run, run]


async def test_as_many_at_once_as_may_be_and_no_more(runs: RunStore) -> None:
    guard = RunGuard(BackPressure(no_queue, waiting_max=1), ANY_SIZE, at_once_max=3)
    user_id = a_user()

    async def keep() -> KeptRun | None:
        async with guard.turn(user_id) as at_once_max:
            return await runs.keep(a_run(user_id), at_once_max)

    kept = await asyncio.gather(*(keep() for _ in range(40)), return_exceptions=True)
    assert kept.count(None) == 3
    assert sum(isinstance(one, OverLimitError) for one in kept) == 37


async def test_the_first_end_stands(runs: RunStore) -> None:
    run, other = a_run(a_user()), a_run(a_user())
    await runs.keep(run)
    end = an_end(run)
    await runs.end([end, an_end(run, chunks=("later",)), an_end(other)])
    await runs.end([an_end(run, outcome=Outcome.FAILED)])
    found = await runs.find(run.record.user_id, run.record.run_id)
    assert found == replace(run, outcome=Outcome.COMPLETED, ended_at=_NOW, end=end)
    await runs.end([])


async def test_pages_are_newest_first(runs: RunStore) -> None:
    user_id = a_user()
    kept = [a_run(user_id, session_id="one" if number % 2 else None) for number in range(5)]
    for run in kept:
        await runs.keep(run)
    await runs.end([an_end(kept[4])])
    newest = replace(kept[4], outcome=Outcome.COMPLETED, ended_at=_NOW)
    first = await runs.page(user_id, limit=2, before=None, session_id=None)
    assert first == (newest, kept[3])
    rest = await runs.page(user_id, limit=9, before=kept[3].record.run_id, session_id=None)
    assert rest == (kept[2], kept[1], kept[0])
    assert await runs.page(user_id, limit=9, before=None, session_id="one") == (kept[3], kept[1])


async def test_outcomes_are_of_the_users_own_that_were_asked_for(runs: RunStore) -> None:
    user_id = a_user()
    ended, going_on, foreign = a_run(user_id), a_run(user_id), a_run(a_user())
    for run in (ended, going_on, foreign):
        await runs.keep(run)
    await runs.end([an_end(ended)])
    ids = [run.record.run_id for run in (ended, going_on, foreign)]
    assert await runs.outcomes(user_id, [*ids, new_id()]) == {ids[0]: Outcome.COMPLETED, ids[1]: None}
    assert await runs.outcomes(user_id, []) == {}


async def test_old_answers_are_forgotten_and_lost_runs_end(runs: RunStore) -> None:
    user_id, long_ago = a_user(), _NOW - timedelta(days=3)
    old, fresh, lost = a_run(user_id), a_run(user_id), a_run(user_id, start_by=long_ago, deadline=long_ago)
    for run in (old, fresh, lost):
        await runs.keep(run)
    await runs.end([an_end(old, ended_at=long_ago), an_end(fresh)])
    assert await runs.sweep(ended_before=_NOW - timedelta(days=2), lost_before=_NOW) >= 1
    found = [await runs.find(user_id, run.record.run_id) for run in (old, fresh, lost)]
    assert [run and run.outcome for run in found] == [
        Outcome.COMPLETED,
        Outcome.COMPLETED,
        Outcome.INTERRUPTED,
    ]
    assert [run is not None and run.end is not None for run in found] == [False, True, True]
    assert found[2] is not None
    assert found[2].end is not None
    assert found[2].end.error is not None
    assert found[2].end.error.code == "worker_lost"


async def test_one_that_was_believed_lost_ends_as_it_is_told_at_last(runs: RunStore) -> None:
    long_ago = _NOW - timedelta(days=3)
    run = a_run(user_id := a_user(), start_by=long_ago, deadline=long_ago)
    await runs.keep(run)
    await runs.sweep(ended_before=_NOW - timedelta(days=9), lost_before=_NOW)
    assert (await ended_as(runs, run)).outcome is Outcome.INTERRUPTED

    await runs.end([an_end(run)])
    await runs.end([an_end(run, outcome=Outcome.FAILED)])

    assert (await ended_as(runs, run)).outcome is Outcome.COMPLETED
    assert await runs.outcomes(user_id, [run.record.run_id]) == {run.record.run_id: Outcome.COMPLETED}


async def test_one_that_ended_as_interrupted_stays_so(runs: RunStore) -> None:
    run = a_run(a_user())
    await runs.keep(run)
    await runs.end([an_end(run, outcome=Outcome.INTERRUPTED)])
    await runs.end([an_end(run)])
    assert (await ended_as(runs, run)).outcome is Outcome.INTERRUPTED


async def test_old_runs_are_forgotten_and_with_them_their_idempotency_keys(runs: RunStore) -> None:
    user_id, long_ago = a_user(), datetime(2019, 1, 1, tzinfo=UTC)
    records = [a_record(user_id, first_id_of(long_ago - timedelta(days=days))) for days in range(1, 5)]
    await runs.add(unkept := records.pop())
    old, older, going_on = (a_run(user_id, record=record) for record in records)
    old = replace(old, idempotency=Idempotency("k", b"\x01" * 32))
    fresh = a_run(user_id)
    for run in (old, older, going_on, fresh):
        await runs.keep(run)
    await runs.end([an_end(old), an_end(older), an_end(fresh)])

    assert await runs.forget(first_id_of(long_ago), limit=2) == 2
    assert await runs.owner(unkept.run_id) is None
    assert [run.record for run in await page_of(runs, user_id)] == [fresh.record, old.record, going_on.record]
    assert await runs.forget(first_id_of(long_ago), limit=2) == 1
    assert await runs.forget(new_id(), limit=9) == 0  # nothing of the last day
    assert [run.record for run in await page_of(runs, user_id)] == [fresh.record, going_on.record]
    assert await runs.keep(a_run(user_id, idempotency=old.idempotency)) is None


async def test_without_a_database_it_says_so(pool_for: PoolFor) -> None:
    pool = await pool_for(API_EDGE)
    runs, run = PostgresRunStore(Database(pool)), a_run("alice")
    await pool.close()
    calls = [
        runs.keep(run),
        runs.free(run.record.run_id),
        runs.find("alice", run.record.run_id),
        runs.end([an_end(run)]),
        runs.page("alice", limit=1, before=None, session_id=None),
        runs.outcomes("alice", [run.record.run_id]),
        runs.sweep(ended_before=_NOW, lost_before=_NOW),
        runs.forget(new_id(), limit=1),
    ]
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(failure) for failure in failures} == {DatabaseUnavailableError}
