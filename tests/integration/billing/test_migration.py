"""A ledger that was kept before balances were the database's own goes on, to the micro."""

from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg
import pytest

from infra.bootstrap.migrations import SERVICES_FOLDER, migrations_in
from services.billing.adapters import ledger_sql as sql
from services.billing.adapters import rows
from services.billing.domain.hold import Hold
from shared.contracts.credits import CreditsGranted
from shared.contracts.message import Envelope, read
from shared.kernel.names import BILLING
from tests.fakes.billing import QUOTE, hold_for, usage_event
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

_SCHEMA: Final = "before"
# A grant of 100; a charge of 30, 5 of it owed; an open hold of 20; a price of an operator's.
_BEFORE: Final = """
INSERT INTO accounts (kind, user_id, posted_micros, held_micros)
VALUES ('user', 'ada', 75, 20), ('receivable', 'ada', -5, 0);
UPDATE accounts SET posted_micros = 30 WHERE kind = 'revenue';
UPDATE accounts SET posted_micros = -100 WHERE kind = 'grants';
INSERT INTO transfers (kind, debit_account, credit_account, amount_micros, idempotency_key, run_id, attempt)
SELECT entry.kind, debit.id, credit.id, micros, key, run_id, attempt
FROM (VALUES
    ('grant', 'grants', 'user', 100, 'grant:k', NULL, NULL),
    ('charge', 'user', 'revenue', 25, 'charge:00000000-0000-0000-0000-000000000001',
     '00000000-0000-0000-0000-0000000000aa'::uuid, 1),
    ('receivable', 'receivable', 'revenue', 5, 'receivable:00000000-0000-0000-0000-000000000001',
     '00000000-0000-0000-0000-0000000000aa', 1)
) AS entry (kind, debit, credit, micros, key, run_id, attempt)
JOIN accounts AS debit ON debit.kind = entry.debit JOIN accounts AS credit ON credit.kind = entry.credit;
INSERT INTO usage (
    usage_id, run_id, attempt, user_id, event, cost_micros, charged_micros, receivable_micros, price_version
) VALUES (
    '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000000aa', 1, 'ada',
    '{"key_source": "platform", "policy": "platform_only", "outcome": "completed"}', 30, 30, 5, 'v1'
);
INSERT INTO holds (run_id, attempt, user_id, amount_micros, expires_at, state, price)
VALUES ('00000000-0000-0000-0000-0000000000bb', 1, 'ada', 20, now() + interval '1 hour', 'held',
        '{"version": "v1", "prompt": {"usd": "1"}, "completion": {"usd": "2"}}'),
       ('00000000-0000-0000-0000-0000000000aa', 1, 'ada', 25, now(), 'settled', NULL);
INSERT INTO prices (model, input_usd, output_usd, cached_usd) VALUES ('openai/x', 1.5, 2, NULL);
INSERT INTO outbox (event_id, type, payload) VALUES (
    '00000000-0000-0000-0000-0000000000ee', 'latchkey.credits.granted.v1',
    '{"transfer_id": "00000000-0000-0000-0000-0000000000dd", "user_id": "ada", "amount_micros": 100,
      "granted_by": "root"}'
);
"""


@pytest.fixture
async def migrated(
    realm: TestRealm, database: "asyncpg.Connection[Any]"
) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a schema of its own, filled before the second migration and brought up to date."""
    first, *later = migrations_in(SERVICES_FOLDER / BILLING / "migrations")
    role = f"{realm.name}_{BILLING}"
    await database.execute(f"CREATE SCHEMA {_SCHEMA}; SET search_path = {_SCHEMA}")
    await database.execute(first.for_role(role))
    await database.execute(_BEFORE)
    async with database.transaction():
        for migration in later:
            await database.execute(migration.for_role(role))
    yield database
    await database.execute(f"RESET search_path; DROP SCHEMA {_SCHEMA} CASCADE")


async def test_what_was_kept_still_adds_up(migrated: "asyncpg.Connection[Any]") -> None:
    assert await migrated.fetch("SELECT * FROM ledger_faults") == []
    entries = await migrated.fetch("SELECT kind, cause, user_id, cause_id::text, attempt FROM transfers")
    usage_id = "00000000-0000-0000-0000-000000000001"
    made = {tuple(row) for row in entries if row["cause"] == "usage"}
    assert made == {(kind, "usage", "ada", usage_id, 1) for kind in ("charge", "receivable")}
    assert [row["kind"] for row in entries if (row["cause"], row["user_id"]) == ("grant", "ada")] == ["grant"]
    price = await migrated.fetchval("SELECT price::text FROM prices")
    assert price == '{"input": {"usd": "1.5"}, "output": {"usd": "2"}}'


async def test_what_was_not_published_yet_still_will_be(migrated: "asyncpg.Connection[Any]") -> None:
    waiting = await migrated.fetchrow("SELECT event_id::text, routing_key, body, created_at FROM outbox")
    assert waiting is not None
    envelope = Envelope.decode(waiting["body"].encode())
    assert (envelope.id, envelope.source, envelope.time) == (
        waiting["event_id"],
        "latchkey/billing",
        waiting["created_at"],
    )
    told = read(envelope, CreditsGranted)
    assert waiting["routing_key"] == told.ROUTING_KEY
    assert (told.user_id, told.amount_micros, told.repaid_micros) == ("ada", 100, 0)


async def test_and_goes_on(migrated: "asyncpg.Connection[Any]") -> None:
    """The old hold is settled by nobody's quote, and counts against what new ones may take."""
    open_hold = await migrated.fetchrow("SELECT * FROM holds WHERE state = 'held'")
    assert open_hold is not None
    assert rows.load_hold(open_hold).quote is None
    wanted = [hold_for(usage_event(user_id="ada"), micros) for micros in (56, 55)]
    answers = await migrated.fetch(sql.AUTHORIZE, *rows.hold_columns(wanted))
    refused, taken = (rows.load_admission(hold, row) for hold, row in zip(wanted, answers, strict=True))
    assert isinstance(refused, Exception)
    assert isinstance(taken, Hold)
    assert taken.quote == QUOTE
    await migrated.execute("UPDATE holds SET state = 'released' WHERE state = 'held'")
    assert await migrated.fetchval("SELECT held_micros FROM accounts WHERE kind = 'user'") == 0
    assert await migrated.fetch("SELECT * FROM ledger_faults") == []
