"""`ledger rebuild --check` and `ledger verify` on real parts: clean when all is well, every change found."""

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from infra.ledger.verify import GUARDS
from shared.kernel.ids import new_id
from tests.fakes.billing import usage_event
from tests.integration.infra.ledger_house import COST, House, running_house
from tests.realm import temporary_realm

pytestmark = pytest.mark.integration

_USER: Final = "ada"
_CHARGE: Final = """
INSERT INTO billing.transfers
    (kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, user_id,
     run_id, attempt)
SELECT 'charge', 'usage', $1::uuid, debit.id, credit.id, 7, 'by hand', 'ada', gen_random_uuid(), 1
FROM billing.accounts AS debit, billing.accounts AS credit
WHERE (debit.user_id, debit.kind) = ('ada', 'user') AND credit.kind = 'revenue'
"""
_USAGE: Final = """
INSERT INTO billing.usage (usage_id, run_id, attempt, user_id, event, charged_micros, receivable_micros)
SELECT $1, gen_random_uuid(), 1, 'ada', '{}', 0, 0
"""


@pytest_asyncio.fixture(scope="module")
async def house(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("ledger")
    async with temporary_realm(servers, folder) as realm, running_house(realm) as made:
        await made.mixed_load(_USER)
        yield made


@pytest_asyncio.fixture(scope="module")
async def charged(house: House) -> UUID:
    """The id of a usage event that was paid for."""
    found = "SELECT usage_id FROM billing.usage WHERE charged_micros > 0 AND receivable_micros = 0 LIMIT 1"
    usage_id: UUID = await house.database.fetchval(found)
    return usage_id


async def _found(house: House, *, wait_s: float = 0) -> set[tuple[str, str]]:
    rebuilt, found = await house.check(wait_s=wait_s)
    assert rebuilt.checkpoint is None, "nothing later may begin at what was found wrong"
    return {(difference.what, difference.subject) for difference in found}


async def test_after_some_of_everything_the_stream_tells_what_the_tables_do(house: House) -> None:
    rebuilt, found = await house.check()
    assert found == []
    assert rebuilt.usage == len({event.usage_id for event in house.reported}) > 15
    kinds = await house.database.fetch("SELECT DISTINCT kind FROM billing.transfers")
    assert len(kinds) == 6, "every kind of transfer was there to be compared"
    assert rebuilt.transfers == await house.database.fetchval("SELECT count(*) FROM billing.transfers")
    assert await house.faults() == set()
    assert await house.scratch() == []


async def test_a_changed_charge(house: House, charged: UUID) -> None:
    change = "UPDATE billing.usage SET charged_micros = charged_micros + 1 WHERE usage_id = $1"
    async with house.tampered(change, charged):
        assert await _found(house) == {
            ("charged otherwise than its usage event says", f"usage {charged}"),
            ("charged otherwise than was published", f"usage {charged}"),
        }
        assert await house.faults() == {
            ("usage charged differs from transfers", str(charged)),
            ("charged, but not for what it cost on the platform's key", str(charged)),
        }


async def test_a_charge_that_was_dropped_everywhere(house: House, charged: UUID) -> None:
    """The tables alone agree, but for what the event says it cost."""
    change = """
    WITH gone AS (DELETE FROM billing.transfers WHERE cause_id = $1 RETURNING *), back AS (
        UPDATE billing.accounts SET posted_micros = posted_micros
            + CASE id WHEN debit_account THEN amount_micros ELSE -amount_micros END
        FROM gone WHERE id IN (debit_account, credit_account)
    )
    UPDATE billing.usage SET charged_micros = 0, cost_micros = 0 WHERE usage_id = $1
    """
    async with house.tampered(change, charged):
        assert await house.faults() == {("settled without a charge", await _attempt(house, charged))}
        assert await _found(house) == {
            ("charged otherwise than its usage event says", f"usage {charged}"),
            ("charged otherwise than was published", f"usage {charged}"),
            ("published, but never posted", f"transfer {charged} charge"),
            ("a balance differs", f"account user of {_USER}"),
            ("a balance differs", "account revenue"),
        }


async def test_a_deleted_transfer(house: House, charged: UUID) -> None:
    async with house.tampered("DELETE FROM billing.transfers WHERE cause_id = $1", charged):
        assert await _found(house) == {("published, but never posted", f"transfer {charged} charge")}
        assert ("usage charged differs from transfers", str(charged)) in await house.faults()


async def test_a_changed_transfer(house: House) -> None:
    grant = await house.database.fetchval(
        "SELECT cause_id FROM billing.transfers WHERE kind = 'grant' LIMIT 1"
    )
    change = """
    UPDATE billing.transfers SET amount_micros = 1, user_id = 'eve' WHERE cause_id = $1 AND kind = 'grant'
    """
    async with house.tampered(change, grant):
        assert await _found(house) == {("posted otherwise than it was published", f"transfer {grant} grant")}
        assert ("a transfer is not what its kind says", f"{grant} grant") in await house.faults()


async def test_a_changed_balance(house: House) -> None:
    change = "UPDATE billing.accounts SET posted_micros = posted_micros + 5 WHERE kind = 'grants'"
    async with house.tampered(change):
        assert await _found(house) == {("a balance differs", "account grants")}
        assert {what for what, _ in await house.faults()} == {
            "posted differs from transfers",
            "the accounts do not sum to zero",
        }


async def test_a_deleted_usage_row(house: House, charged: UUID) -> None:
    attempt = await _attempt(house, charged)
    async with house.tampered("DELETE FROM billing.usage WHERE usage_id = $1", charged):
        assert await _found(house, wait_s=0.5) == {("published, but never recorded", f"usage {charged}")}
        assert await house.faults() == {
            ("usage charged differs from transfers", str(charged)),
            ("settled without a charge", attempt),
        }


async def test_a_changed_usage_event(house: House, charged: UUID) -> None:
    change = 'UPDATE billing.usage SET event = event || \'{"flow": "other"}\' WHERE usage_id = $1'
    async with house.tampered(change, charged):
        assert await _found(house) == {("recorded otherwise than it was published", f"usage {charged}")}


async def test_an_added_charge(house: House) -> None:
    usage_id = new_id()
    async with house.tampered(_CHARGE, usage_id):
        assert await _found(house) == {("posted, but never published", f"transfer {usage_id} charge")}
        assert ("usage charged differs from transfers", str(usage_id)) in await house.faults()


async def test_an_event_that_is_in_the_tables_alone(house: House) -> None:
    """As if the stream had lost it."""
    usage_id = new_id()
    async with house.tampered(_USAGE, usage_id):
        assert await _found(house, wait_s=0.5) == {("recorded, but never published", f"usage {usage_id}")}


async def test_an_open_hold_of_an_attempt_that_ended(house: House, charged: UUID) -> None:
    attempt = await _attempt(house, charged)
    run_id = UUID(attempt.partition("/")[0])
    async with house.tampered("UPDATE billing.holds SET state = 'held' WHERE run_id = $1", run_id):
        assert ("held, though its attempt has ended", attempt) in await house.faults()
    async with house.tampered("UPDATE billing.holds SET state = 'settled' WHERE run_id = $1", run_id):
        assert await house.faults() == set()


async def test_platforms_use_that_is_not_charged_and_users_use_that_is(house: House) -> None:
    own = await house.database.fetchval(
        "SELECT usage_id FROM billing.usage WHERE key_source = 'user' AND cost_micros > 0 LIMIT 1"
    )
    charge = "UPDATE billing.usage SET charged_micros = cost_micros WHERE usage_id = $1"
    async with house.tampered(charge, own):
        assert ("charged otherwise than its usage event says", f"usage {own}") in await _found(house)
        found = await house.faults()
        assert ("charged, but not for what it cost on the platform's key", str(own)) in found
    platforms = await house.database.fetchval(
        "SELECT usage_id FROM billing.usage WHERE key_source = 'team_gateway' AND charged_micros > 0"
    )
    drop = "UPDATE billing.usage SET charged_micros = 0, receivable_micros = 0 WHERE usage_id = $1"
    async with house.tampered(drop, platforms):
        found = await house.faults()
        assert ("not charged, though it used the platform's key", str(platforms)) in found


async def test_afterwards_all_is_as_it_was_and_duplicates_are_no_difference(house: House) -> None:
    again = house.reported[:5]
    await house.report(*again, *again, usage_event(user_id=_USER, cost_micros=COST))
    await house.quiet()
    rebuilt, found = await house.check()
    assert (found, await house.faults()) == ([], set())
    assert rebuilt.end > rebuilt.usage + rebuilt.transfers
    assert rebuilt.checkpoint == rebuilt.end - 1


async def _attempt(house: House, usage_id: UUID) -> str:
    found = "SELECT run_id || '/' || attempt FROM billing.usage WHERE usage_id = $1"
    return str(await house.database.fetchval(found, usage_id))


async def test_every_trigger_of_the_ledger_is_asked_for(house: House) -> None:
    rows = await house.database.fetch("""
        SELECT relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = 'billing'::regnamespace AND NOT tgisinternal ORDER BY relname, tgname
    """)
    assert [tuple(row) for row in rows] == list(GUARDS)


@pytest.mark.parametrize(
    "how", ["DISABLE TRIGGER post", "ENABLE REPLICA TRIGGER post", "DISABLE TRIGGER ALL"]
)
async def test_a_trigger_that_is_off_is_a_fault(house: House, how: str) -> None:
    await house.database.execute(f"ALTER TABLE billing.transfers {how}")
    try:
        faults = await house.faults()
    finally:
        await house.database.execute("ALTER TABLE billing.transfers ENABLE TRIGGER ALL")
    off = {subject for what, subject in faults if what == "a trigger is missing or switched off"}
    assert off == ({"transfers, append_only", "transfers, post"} if "ALL" in how else {"transfers, post"})
    assert await house.faults() == set()
