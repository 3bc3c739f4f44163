"""`latchkey recover`: after a backup was restored the books are as the usage stream tells."""

from pathlib import Path
from typing import Final

import pytest

from infra.bootstrap.postgres import connect
from infra.recovery.beginning import EPOCH
from infra.recovery.ledger import LeftOut
from shared.contracts.credits import (
    AdjustCredits,
    CreditsGranted,
    DeductCredits,
    GrantCredits,
)
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, KeySource
from tests.backup import back_up, restore
from tests.fakes.billing import usage_event
from tests.integration.infra.ledger_house import COST, House, running_house
from tests.integration.infra.recovery import (
    added,
    attempts_of,
    books,
    claim,
    realm,
    recovered_of,
    tell,
    tell_nobody,
    times,
)
from tests.realm import TestRealm
from tests.usage_history import charge_of

__all__ = ["realm"]

pytestmark = pytest.mark.integration

_HOLDS: Final = "SELECT state, count(*) FROM billing.holds WHERE user_id = $1 GROUP BY state"
_NEXT_PRICE: Final = "SELECT nextval(pg_get_serial_sequence('billing.prices', 'version'))"
_ASKED: Final = (
    GrantCredits(user_id="ada", amount_micros=5_000, idempotency_key="welcome", granted_by="root"),
    DeductCredits(user_id="ada", feature="export", amount_micros=300, idempotency_key="export:1"),
    AdjustCredits(
        user_id="ada", amount_micros=-9_000, reason="why", idempotency_key="fix", adjusted_by="root"
    ),
)


async def test_the_ledger_is_as_it_was_before_its_backup_was_restored(
    realm: TestRealm, tmp_path: Path
) -> None:
    dump = tmp_path / "dump"
    async with running_house(realm) as house:
        await house.mixed_load("ada")
        await house.grant("eve", 100_000)
        open_then = [await house.authorize("eve") for _ in range(3)]
        await back_up(realm, dump)
        await house.database.execute("CREATE TABLE billing.newer (id bigint REFERENCES billing.accounts)")
        await house.report(*open_then[:2])
        await house.quiet()
        await house.mixed_load("bob")
        await house.grant("ada", 20_000_000)  # pays what the first load left owed
        await house.mixed_load("ada")
        before, then = await books(house), await times(house)
    await restore(realm, dump)
    recovered = await recovered_of(realm)
    assert recovered.posted.transfers > 20
    assert (recovered.rated.refused, recovered.posted.left_out) == ((), ())

    async with running_house(realm) as house:
        assert await books(house) == before
        assert await times(house) == pytest.approx(then, abs=1.0)
        assert dict(await house.database.fetch(_HOLDS, "eve")) == {"settled": 2, "expired": 1}
        await _check(house)
    assert added(await recovered_of(realm)) == 0, "nothing is added twice"
    assert added(await recovered_of(realm, EPOCH)) == 0


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


async def test_what_an_older_billing_told_without_its_key_is_added_once(realm: TestRealm) -> None:
    async with running_house(realm) as house:
        known = await house.grant("ada", 1_000)
        await house.quiet()
    untold = CreditsGranted(transfer_id=new_id(), user_id="ada", amount_micros=7, granted_by="root")
    repeated = untold.model_copy(update={"transfer_id": known.transfer_id, "amount_micros": 1_000})
    await tell(realm, BILLING, untold, repeated)
    assert (await recovered_of(realm)).posted.transfers == 1
    assert added(await recovered_of(realm)) == 0


async def test_of_what_was_asked_for_twice_the_first_counts(realm: TestRealm) -> None:
    """A backup was restored before, and nothing was recovered then."""
    first, second = (
        CreditsGranted(
            transfer_id=new_id(), user_id="ada", amount_micros=7, granted_by="root", idempotency_key="welcome"
        )
        for _ in range(2)
    )
    await tell(realm, BILLING, first, second)
    assert (await recovered_of(realm)).posted.transfers == 1
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        assert await database.fetchval("SELECT cause_id FROM billing.transfers") == first.transfer_id


async def test_what_no_charge_was_told_of_is_rated(realm: TestRealm, tmp_path: Path) -> None:
    """Billing was away, or its outbox was lost with the database; the queue was emptied."""
    dump = tmp_path / "dump"
    async with running_house(realm) as house:
        await house.grant("ada", 100_000)
        held = await house.authorize("ada")
        await house.quiet()
        await back_up(realm, dump)
    late = usage_event(user_id="ada", cost_micros=COST + 1, price_version="prices-9")
    own = usage_event(user_id="ada", key_source=KeySource.USER, cost_micros=None)
    await tell_nobody(realm, held, late, own)
    await restore(realm, dump)
    recovered = await recovered_of(realm)
    assert (recovered.posted.usage, recovered.rated.usage) == (0, 3)

    async with running_house(realm) as house:
        await house.quiet()
        rows = {row["usage_id"]: row for row in await house.database.fetch("SELECT * FROM billing.usage")}
        assert rows[held.usage_id]["charged_micros"] == held.cost_micros
        assert rows[held.usage_id]["receivable_micros"] == 0, "its hold was open"
        assert rows[late.usage_id]["receivable_micros"] == COST + 1, "at the price that its worker knew"
        assert (rows[own.usage_id]["charged_micros"], rows[own.usage_id]["cost_micros"]) == (0, COST)
        assert await house.database.fetchval(_NEXT_PRICE) == 10, "no other price has that name"
        await _check(house)


async def test_what_rabbitmq_lost_on_the_way_to_billing_is_charged(realm: TestRealm) -> None:
    """The attempts' rows tell of it."""
    async with running_house(realm) as house:
        await house.grant("ada", 100_000)
        held = await house.authorize("ada")
        await house.quiet()
    async with attempts_of(realm) as store:
        await claim(store, held)
        assert await store.finish(held, None)
    recovered = await recovered_of(realm)
    assert (added(recovered), recovered.rated.usage) == (0, 1)
    async with running_house(realm) as house:
        charged = "SELECT charged_micros FROM billing.usage WHERE usage_id = $1"
        assert await house.database.fetchval(charged, held.usage_id) == held.cost_micros
        assert dict(await house.database.fetch(_HOLDS, "ada")) == {"settled": 1}


async def test_a_hold_does_not_keep_what_was_spent_since(realm: TestRealm, tmp_path: Path) -> None:
    """It had expired, because its usage event never reached billing."""
    dump = tmp_path / "dump"
    async with running_house(realm) as house:
        await house.grant("ada", 100_000)
        held = await house.authorize("ada", for_s=0.5)
        await back_up(realm, dump)
        await house.until_expired("ada")
        await house.deduct("ada", 100_000)
        await house.quiet()
    await tell_nobody(realm, held)
    await restore(realm, dump)
    assert (await recovered_of(realm)).rated.usage == 1
    async with running_house(realm) as house:
        await house.quiet()
        owed = "SELECT receivable_micros FROM billing.usage WHERE usage_id = $1"
        assert await house.database.fetchval(owed, held.usage_id) == held.cost_micros
        await _check(house)


async def test_whose_credits_are_not_told_of_is_left_out(realm: TestRealm) -> None:
    """All others are not; and once the credits are given, it is made good."""
    paid = usage_event(user_id="ada", cost_micros=COST, price_version="v1")
    await tell_nobody(realm, paid)
    await tell(
        realm,
        BILLING,
        charge_of(paid),
        CreditsGranted(transfer_id=new_id(), user_id="bob", amount_micros=7, granted_by="root"),
    )
    recovered = await recovered_of(realm)
    assert (recovered.posted.left_out, recovered.posted.transfers) == ((LeftOut("ada", False, COST),), 1)
    assert recovered.rated.usage == 0
    async with running_house(realm) as house:
        await house.grant("ada", COST)
        await house.quiet()
    recovered = await recovered_of(realm)
    assert (recovered.posted.left_out, recovered.posted.usage) == ((), 1)
    async with running_house(realm) as house:
        await _check(house)


async def test_who_paid_back_what_is_not_told_to_have_been_owed_is_left_out(realm: TestRealm) -> None:
    """And remembered, so that a later recovery reads from as early."""
    repaid = CreditsGranted(
        transfer_id=new_id(), user_id="ada", amount_micros=9, repaid_micros=8, granted_by="root"
    )
    again = usage_event(user_id="bob", cost_micros=COST, price_version="v1")
    twice = again.model_copy(update={"usage_id": new_id()})
    await tell(
        realm,
        BILLING,
        repaid,
        CreditsGranted(transfer_id=new_id(), user_id="bob", amount_micros=COST + 1, granted_by="root"),
        charge_of(again),
        charge_of(twice),
    )
    await tell_nobody(realm, again, twice)
    recovered = await recovered_of(realm)
    assert recovered.posted.left_out == (LeftOut("ada", True, 8),), "of one attempt told twice, one counts"
    async with running_house(realm) as house:
        for _ in range(2):
            await house.grant("eve", 1)
        await house.adjust("ada", -8)
        await house.quiet()
    recovered = await recovered_of(realm)
    assert (recovered.since, recovered.posted.left_out) == (EPOCH, ())
    assert (await recovered_of(realm)).since > EPOCH


# --- what the tests do ------------------------------------------------------------------------------------


async def _check(house: House) -> None:
    _, found = await house.check()
    assert (found, await house.faults()) == ([], set())
