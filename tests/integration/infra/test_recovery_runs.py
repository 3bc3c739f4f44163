"""`latchkey recover`: runs that have ended since the backup are not begun again; and when it is refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.bootstrap.postgres import connect
from infra.recovery.beginning import EPOCH
from infra.recovery.errors import RecoveryError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, Outcome
from tests.backup import back_up, restore
from tests.fakes.billing import usage_event
from tests.fakes.inference import a_request
from tests.integration.infra.ledger_house import running_house
from tests.integration.infra.recovery import attempts_of, claim, realm, recovered_of, tell, tell_nobody
from tests.latchkey import latchkey
from tests.realm import TestRealm

__all__ = ["realm"]

pytestmark = pytest.mark.integration

_KEEP = """
INSERT INTO edge.runs (run_id, user_id, flow, model, stream, kept, deadline, start_by)
VALUES ($1, 'ada', 'chat', 'openai/gpt-4o-mini', false, true, now() + interval '5 minutes', now())
"""
_COUNCIL = """
INSERT INTO edge.councils (council_id, user_id, members, synthesis_id, created_at, deadline, question)
VALUES ($1, 'ada', '[]', $2, now(), now(), '{}') RETURNING council_id
"""
_LOST = "SELECT run_id FROM edge.runs WHERE outcome IS NULL AND deadline < now() - interval '10 minutes'"


async def test_a_run_that_has_ended_since_is_not_begun_again(realm: TestRealm, tmp_path: Path) -> None:
    """Its message may still be in the queue; and its receipt is asked for by its user."""
    dump = tmp_path / "dump"
    unfinished, unknown = usage_event(), usage_event(outcome=Outcome.FAILED, attempt=2, session_id="tea")
    again = usage_event(run_id=unknown.run_id, attempt=2)
    async with attempts_of(realm) as store:
        await claim(store, unfinished)
    await back_up(realm, dump)
    await tell_nobody(realm, unfinished, unknown, again)
    await restore(realm, dump)
    assert (await recovered_of(realm)).attempts == 2
    async with attempts_of(realm) as store:
        assert await store.abandoned(own="none", stale_after_s=1, overdue_s=60, limit=9) == ()
        for event in (unfinished, unknown):
            (stored,) = await store.attempts(event.run_id, stale_after_s=1)
            assert (stored.usage, stored.attempt.usage_id) == (event, event.usage_id)
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        noted = dict(await database.fetch("SELECT run_id, session_id FROM edge.runs WHERE user_id = 'ada'"))
        unpublished = "SELECT count(*) FROM inference.attempts WHERE published_at IS NULL"
        waiting = await database.fetchval(unpublished)
    assert noted == {unfinished.run_id: None, unknown.run_id: "tea"}
    assert waiting == 0, "nobody publishes them once more"


async def test_a_kept_run_has_ended_unless_its_answer_is_still_on_the_way(realm: TestRealm) -> None:
    over, told_later = usage_event(), usage_event()
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        for run in (over, told_later):
            await database.execute(_KEEP, run.run_id)
        end = "INSERT INTO inference.run_ends (run_id, ended_at, body) VALUES ($1, now(), '{}')"
        await database.execute(end, told_later.run_id)
        await tell_nobody(realm, over, told_later)
        await recovered_of(realm)
        outcomes = dict(await database.fetch("SELECT run_id, outcome FROM edge.runs"))
    assert outcomes == {over.run_id: "completed", told_later.run_id: None}


async def test_a_councils_last_run_is_its_own(realm: TestRealm) -> None:
    last = usage_event()
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        council = await database.fetchval(_COUNCIL, new_id(), last.run_id)
        await tell_nobody(realm, last)
        await recovered_of(realm)
        run = await database.fetchrow("SELECT council_id, kept, outcome FROM edge.runs")
        assert tuple(run or ()) == (council, True, "completed")
        assert await database.fetchval("SELECT question FROM edge.councils") is None, "it is not asked again"


async def test_a_run_of_which_nothing_is_told_is_ended_at_once(realm: TestRealm) -> None:
    """As if it were long over: by the workers' sweep, or the edges'."""
    begun, queued = usage_event(), usage_event()
    async with attempts_of(realm) as store:
        await claim(store, begun)
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        await database.execute(_KEEP, queued.run_id)
        await recovered_of(realm)
        assert await database.fetchval(_LOST) == queued.run_id
    async with attempts_of(realm) as store:
        (abandoned,) = await store.abandoned(own="none", stale_after_s=1, overdue_s=600, limit=9)
    assert abandoned.attempt.run_id == begun.run_id


async def test_what_waits_for_a_worker_is_dropped(realm: TestRealm) -> None:
    """One that was called before may be among it."""
    await tell(realm, API_EDGE, a_request())
    assert (await recovered_of(realm)).dropped == 1
    assert (await recovered_of(realm)).dropped == 0


async def test_services_have_to_be_stopped(realm: TestRealm) -> None:
    async with running_house(realm):
        with pytest.raises(RecoveryError, match=f"connected to the database: {realm.name}_billing"):
            await recovered_of(realm)
    code, said = await latchkey(realm, "recover", "--from", "0001-01-01")
    assert (code, "added 0 attempts, 0 usage events, 0 transfers" in said) == (0, True), said


async def test_it_is_read_from_what_the_database_knew(realm: TestRealm) -> None:
    now = datetime.now(UTC)
    await tell_nobody(realm, usage_event(started_at=now, finished_at=now))
    recovered = await recovered_of(realm)
    assert (recovered.since, recovered.attempts) == (EPOCH, 1), "nothing was known"
    assert (await recovered_of(realm, now)).since == now - timedelta(hours=1), "no later"
    assert (await recovered_of(realm, now - timedelta(days=1))).since == now - timedelta(days=1)


async def test_another_realms_database_is_left_alone(realm: TestRealm) -> None:
    other = TestRealm(f"not_{realm.name}", realm.env_dir, realm.servers)
    with pytest.raises(RecoveryError, match=f"the database {realm.name} is not realm not_{realm.name}'s"):
        await recovered_of(other)


async def test_who_is_left_out_is_named(realm: TestRealm) -> None:
    async with attempts_of(realm) as store:
        unkept = usage_event(user_id="ada", run_id=new_id(), cost_micros=2**63, price_version="v1")
        await claim(store, unkept)
        assert await store.finish(unkept, None)
    code, said = await latchkey(realm, "recover")
    assert (code, f"usage {unkept.usage_id} cannot be recorded" in said) == (1, True), said
