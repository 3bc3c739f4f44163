"""What Postgres itself refuses: a changed ledger, a written balance, an overdrawn account, a second end."""

import asyncio
from typing import Any

import asyncpg
import pytest

from services.billing.adapters.failures import store_errors
from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.domain.hold import Hold
from services.billing.domain.movement import plan
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.ids import new_id
from tests.fakes.billing import grant, hold_for, usage_event
from tests.realm import PoolFor

pytestmark = pytest.mark.integration

_CHANGES = [
    "UPDATE {table} SET {column} = NULL",
    "UPDATE {table} SET {column} = NULL WHERE false",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
]
_LEDGER = {"transfers": "reason", "usage": "price_version", "prices": "price"}


@pytest.fixture
def user_id() -> str:
    return f"user-{new_id()}"


@pytest.fixture
async def pool(pool_for: PoolFor, user_id: str) -> "asyncpg.Pool[Any]":
    """Billing's own, where the user has 5 micros."""
    pool = await pool_for("billing")
    await PostgresCreditStore(pool).move(grant(user_id, 5), plan)
    return pool


@pytest.fixture
async def hold(pool: "asyncpg.Pool[Any]", user_id: str) -> Hold:
    """An open one, of 3 micros."""
    (answer,) = await PostgresLedgerStore(pool).authorize([hold_for(usage_event(user_id=user_id), 3)])
    assert isinstance(answer, Hold)
    return answer


async def _accounts(pool: "asyncpg.Pool[Any]", user_id: str) -> dict[str, int]:
    """The ids of a user's accounts and of the platform's, by kind."""
    found = await pool.fetch("SELECT kind, id FROM accounts WHERE coalesce(user_id, $1) = $1", user_id)
    return {row["kind"]: row["id"] for row in found}


@pytest.mark.parametrize("table", _LEDGER)
@pytest.mark.parametrize("change", _CHANGES)
async def test_the_service_may_not_change_the_ledger(
    pool: "asyncpg.Pool[Any]", table: str, change: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(change.format(table=table, column=_LEDGER[table]))


@pytest.mark.parametrize("table", _LEDGER)
@pytest.mark.parametrize("change", _CHANGES)
async def test_nor_may_its_owner(database: "asyncpg.Connection[Any]", table: str, change: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await database.execute(change.format(table=f"billing.{table}", column=_LEDGER[table]))


@pytest.mark.parametrize("change", ["DELETE FROM billing.{}", "TRUNCATE billing.{} CASCADE"])
@pytest.mark.parametrize("table", ["accounts", "holds"])
async def test_accounts_and_holds_stay(database: "asyncpg.Connection[Any]", change: str, table: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await database.execute(change.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET posted_micros = posted_micros + 1",
        "UPDATE accounts SET held_micros = 0",
        "UPDATE accounts SET user_id = 'eve'",
        "INSERT INTO accounts (kind, user_id) VALUES ('user', 'eve')",
        "INSERT INTO accounts (kind, user_id, posted_micros) VALUES ('user', 'eve', 1)",
        "DELETE FROM accounts",
        "DELETE FROM holds",
        "UPDATE holds SET amount_micros = 0",
        "UPDATE holds SET expires_at = now()",
        "UPDATE holds SET quote = NULL",
        "INSERT INTO checkpoints (stream_offset, usage_seq, transfer_seq) VALUES (0, 0, 0)",
        "SELECT post_transfers()",
        "ALTER TABLE transfers DISABLE TRIGGER post",
        "SET session_replication_role = replica",
        "DELETE FROM schema_migrations",
        "CREATE TABLE mine (id int)",
    ],
)
async def test_nor_what_else_is_not_its_business(pool: "asyncpg.Pool[Any]", statement: str) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
        await pool.execute(statement)


@pytest.mark.parametrize("state", ["held", "settled", "expired"])
async def test_a_hold_ends_once(pool: "asyncpg.Pool[Any]", hold: Hold, state: str) -> None:
    await pool.execute("UPDATE holds SET state = 'released' WHERE run_id = $1", hold.run_id)
    with pytest.raises(asyncpg.RestrictViolationError, match="ends once"):
        await pool.execute("UPDATE holds SET state = $2 WHERE run_id = $1", hold.run_id, state)


@pytest.mark.parametrize(
    "change", ["amount_micros = 0", "user_id = 'eve'", "expires_at = now()", "quote = NULL", "attempt = 9"]
)
async def test_and_nothing_else_of_it_ever_changes(
    database: "asyncpg.Connection[Any]", hold: Hold, change: str
) -> None:
    statement = f"UPDATE billing.holds SET state = 'released', {change} WHERE run_id = $1"  # noqa: S608
    with pytest.raises(asyncpg.RestrictViolationError, match="ends once"):
        await database.execute(statement, hold.run_id)


_TRANSFER = """
INSERT INTO transfers (
    kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, user_id
) VALUES ('deduction', 'deduction', gen_random_uuid(), $1, $2, $3, gen_random_uuid()::text, $4)
"""
_HOLD = """
INSERT INTO holds (run_id, attempt, user_id, amount_micros, expires_at, state)
VALUES (gen_random_uuid(), 1, $1, $2, now(), 'held')
"""


async def test_an_entry_moves_its_balances_and_none_is_overdrawn(
    pool: "asyncpg.Pool[Any]", hold: Hold
) -> None:
    user_id = hold.user_id
    ids = await _accounts(pool, user_id)
    for amount in (3, 2**62):
        with pytest.raises(asyncpg.CheckViolationError):
            await pool.execute(_TRANSFER, ids["user"], ids["revenue"], amount, user_id)
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(_HOLD, user_id, 3)
    with pytest.raises(asyncpg.CheckViolationError):  # nothing is owed that could be paid back
        await pool.execute(_TRANSFER, ids["user"], ids["receivable"], 1, user_id)
    await pool.execute(_TRANSFER, ids["user"], ids["revenue"], 2, user_id)
    found = await pool.fetch("SELECT posted_micros, held_micros FROM accounts WHERE id = $1", ids["user"])
    assert [tuple(row) for row in found] == [(3, 3)]


async def test_no_entry_is_without_its_accounts(pool: "asyncpg.Pool[Any]", user_id: str) -> None:
    ids = await _accounts(pool, user_id)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await pool.execute(_TRANSFER, ids["user"], 2**62, 1, user_id)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await pool.execute(_HOLD, f"eve-{new_id()}", 1)


async def test_of_two_that_wait_for_each_other_one_may_try_again(
    pool: "asyncpg.Pool[Any]", user_id: str
) -> None:
    other = f"user-{new_id()}"
    await PostgresCreditStore(pool).move(grant(other, 5), plan)
    both_have_one = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        with store_errors():
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT lock_accounts($1)", [first])
                await both_have_one.wait()
                await connection.execute("SELECT lock_accounts($1)", [second])

    results = await asyncio.gather(lock(user_id, other), lock(other, user_id), return_exceptions=True)
    assert [type(result) for result in results if result] == [DatabaseUnavailableError]


async def test_a_balance_that_was_tampered_with_is_found(
    pool: "asyncpg.Pool[Any]", database: "asyncpg.Connection[Any]"
) -> None:
    assert await pool.fetch("SELECT * FROM ledger_faults") == []
    change = "UPDATE billing.accounts SET posted_micros = posted_micros + $1 WHERE kind = 'revenue'"
    await database.execute(change, 1)
    found = {row["fault"] for row in await pool.fetch("SELECT * FROM ledger_faults")}
    await database.execute(change, -1)
    assert found == {"posted differs from transfers", "the accounts do not sum to zero"}
