"""`latchkey recover`: after a backup was restored the books are as the usage stream tells."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from infra.bootstrap.postgres import connect
from infra.recovery.recover import RecoveryError, recover
from infra.usage_stream import Start, UsageStream
from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.domain.attempt import Attempt
from shared.contracts.credits import AdjustCredits, DeductCredits, GrantCredits
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeySource, Outcome
from tests.backup import back_up, restore
from tests.fakes.billing import usage_event
from tests.fakes.inference import a_request
from tests.integration.infra.ledger_house import COST, running_house
from tests.integration.infra.recovery import (
    attempts_of,
    audit_stream,
    books,
    changes,
    realm,
    recovered_of,
    tell_nobody,
)
from tests.latchkey import latchkey
from tests.realm import TestRealm

__all__ = ["realm"]

pytestmark = pytest.mark.integration

_HOLDS: Final = "SELECT state, count(*) FROM billing.holds WHERE user_id = $1 GROUP BY state"


_ASKED: Final = (
    GrantCredits(user_id="ada", amount_micros=5_000, idempotency_key="welcome", granted_by="root"),
    DeductCredits(user_id="ada", feature="export", amount_micros=300, idempotency_key="export:1"),
    AdjustCredits(
        user_id="ada", amount_micros=-9_000, reason="why", idempotency_key="fix", adjusted_by="root"
    ),
)


class _Last(UsageStream):
    """Of a charge, without what it was paid from."""

    async def find(self, start: Start) -> int:  # noqa: ARG002 - it begins where it begins
        return await super().end() - 2


async def test_the_ledger_is_as_it_was_before_its_backup_was_restored(
    realm: TestRealm, tmp_path: Path
) -> None:
    dump = tmp_path / "dump"
    async with running_house(realm) as house:
        await house.mixed_load("ada")
        await house.grant("eve", 100_000)
        open_then = [await house.authorize("eve") for _ in range(3)]
        await back_up(realm, dump)
        await house.report(*open_then[:2])
        await house.quiet()
        await house.mixed_load("bob")
        await house.grant("ada", 20_000_000)  # pays what the first load left owed
        await house.mixed_load("ada")
        before = await books(house)
    await restore(realm, dump)
    recovered = await recovered_of(realm)
    assert recovered.added.transfers > 20
    assert recovered.refused == ()

    async with running_house(realm) as house:
        assert await books(house) == before
        assert dict(await house.database.fetch(_HOLDS, "eve")) == {"settled": 2, "expired": 1}
        _, found = await house.check()
        assert (found, await house.faults()) == ([], set())
    assert changes(await recovered_of(realm)) == 0, "nothing is added twice"


async def test_what_was_asked_for_since_is_not_done_a_second_time(realm: TestRealm, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    async with running_house(realm) as house:
        await back_up(realm, dump)
        made = [await house.move(each) for each in _ASKED]
        await house.quiet()
    await restore(realm, dump)
    await recovered_of(realm)
    async with running_house(realm) as house:
        again = [await house.move(each) for each in _ASKED]
    assert [each.transfer_id for each in again] == [each.transfer_id for each in made]


async def test_what_no_charge_was_told_of_is_rated(realm: TestRealm, tmp_path: Path) -> None:
    """Billing was away, or its outbox was lost with the database; the queue was emptied."""
    dump = tmp_path / "dump"
    async with running_house(realm) as house:
        await house.grant("ada", 100_000)
        held = await house.authorize("ada")
        await house.quiet()
        await back_up(realm, dump)
    late = usage_event(user_id="ada", cost_micros=COST)
    own = usage_event(user_id="ada", key_source=KeySource.USER, cost_micros=None)
    await tell_nobody(realm, held, late, own)
    await restore(realm, dump)
    recovered = await recovered_of(realm)
    assert (recovered.added.usage, recovered.rated) == (0, 3)

    async with running_house(realm) as house:
        await house.quiet()
        rows = {row["usage_id"]: row for row in await house.database.fetch("SELECT * FROM billing.usage")}
        assert rows[held.usage_id]["charged_micros"] == held.cost_micros
        assert rows[held.usage_id]["receivable_micros"] == 0, "its hold was open"
        assert rows[late.usage_id]["receivable_micros"] == COST
        assert (rows[own.usage_id]["charged_micros"], rows[own.usage_id]["cost_micros"]) == (0, COST)
        _, found = await house.check()
        assert (found, await house.faults()) == ([], set())


async def test_what_rabbitmq_lost_on_the_way_to_billing_is_charged(
    realm: TestRealm,
) -> None:
    """The attempts' rows tell of it."""
    async with running_house(realm) as house:
        await house.grant("ada", 100_000)
        held = await house.authorize("ada")
        await house.quiet()
    async with attempts_of(realm) as store:
        await _claim(store, held)
        assert await store.finish(held, None)
    recovered = await recovered_of(realm)
    assert (changes(recovered), recovered.rated) == (0, 1)
    async with running_house(realm) as house:
        charged = await house.database.fetchval(
            "SELECT charged_micros FROM billing.usage WHERE usage_id = $1", held.usage_id
        )
        assert charged == held.cost_micros
        assert dict(await house.database.fetch(_HOLDS, "ada")) == {"settled": 1}


async def test_a_run_that_has_ended_since_is_not_begun_again(realm: TestRealm, tmp_path: Path) -> None:
    """Its message may still be in the queue; and its receipt is asked for by its user."""
    dump = tmp_path / "dump"
    unfinished, unknown = usage_event(), usage_event(outcome=Outcome.FAILED, attempt=2)
    async with attempts_of(realm) as store:
        await _claim(store, unfinished)
    await back_up(realm, dump)
    await tell_nobody(realm, unfinished, unknown)
    await restore(realm, dump)
    assert (await recovered_of(realm)).added.attempts == 2
    async with attempts_of(realm) as store:
        for event in (unfinished, unknown):
            (stored,) = await store.attempts(event.run_id, stale_after_s=1)
            assert (stored.usage, stored.attempt.usage_id) == (event, event.usage_id)
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        noted = await database.fetch("SELECT run_id FROM edge.runs WHERE user_id = 'ada'")
    assert {row["run_id"] for row in noted} == {unfinished.run_id, unknown.run_id}


async def test_services_have_to_be_stopped(realm: TestRealm) -> None:
    async with running_house(realm):
        with pytest.raises(RecoveryError, match=f"connected to the database: {realm.name}_billing"):
            await recovered_of(realm)
    code, said = await latchkey(realm, "recover", "--from", "first")
    assert (code, "added 0 attempts, 0 usage events, 0 transfers" in said) == (0, True), said


async def test_nothing_is_changed_by_what_does_not_fit(realm: TestRealm, tmp_path: Path) -> None:
    """The stream was read from too late: of a charge, but not of what it was paid from."""
    dump = tmp_path / "dump"
    async with running_house(realm) as house:
        await back_up(realm, dump)
        await house.grant("ada", 100_000)
        held = await house.authorize("ada")
        await house.quiet()
        await house.report(held)
        await house.quiet()
    await restore(realm, dump)
    usage = _Last(realm.admin["LATCHKEY_ANALYST_AMQP_URL"])
    with pytest.raises(RecoveryError, match="was it read from early enough"):
        await recover(realm.admin["LATCHKEY_POSTGRES_URL"], usage, audit_stream(realm), realm=realm.name)
    async with running_house(realm) as house:
        assert await house.database.fetchval("SELECT count(*) FROM billing.transfers") == 0


async def _claim(store: PostgresAttemptStore, event: UsageRecorded) -> None:
    attempt = Attempt(event.run_id, event.attempt, event.usage_id, "worker-1", datetime.now(UTC))
    assert await store.claim(attempt, a_request(run_id=event.run_id, user_id=event.user_id))
