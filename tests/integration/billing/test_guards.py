"""What Postgres itself refuses: a changed ledger, and an overdrawn account."""

from typing import Any

import asyncpg
import pytest

from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from shared.kernel.ids import new_id
from tests.fakes.billing import granted
from tests.realm import PoolFor

pytestmark = pytest.mark.integration


_CHANGES = [
    "UPDATE {} SET attempt = 2",
    "UPDATE {} SET attempt = 2 WHERE false",
    "DELETE FROM {}",
    "TRUNCATE {}",
]


@pytest.fixture
async def pool(pool_for: PoolFor) -> "asyncpg.Pool[Any]":
    pool = await pool_for("billing")
    await PostgresLedgerStore(pool).grant(granted(f"user-{new_id()}", 5), str(new_id()))
    return pool


@pytest.mark.parametrize("table", ["transfers", "usage"])
@pytest.mark.parametrize("change", _CHANGES)
async def test_the_service_may_not_change_the_ledger(
    pool: "asyncpg.Pool[Any]", table: str, change: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(change.format(table))


@pytest.mark.parametrize("table", ["transfers", "usage"])
@pytest.mark.parametrize("change", _CHANGES)
async def test_nor_may_its_owner(database: "asyncpg.Connection[Any]", table: str, change: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await database.execute(change.format(f"billing.{table}"))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM accounts",
        "UPDATE accounts SET user_id = 'eve'",
        "DELETE FROM holds",
        "UPDATE holds SET amount_micros = 0",
        "INSERT INTO prices (model, input_usd, output_usd) VALUES ('openai/x', 0, 0)",
        "DELETE FROM schema_migrations",
        "CREATE TABLE mine (id int)",
    ],
)
async def test_nor_what_else_is_not_its_business(pool: "asyncpg.Pool[Any]", statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET posted_micros = -1 WHERE kind = 'user'",
        "UPDATE accounts SET held_micros = posted_micros + 1 WHERE kind = 'user'",
        "UPDATE accounts SET held_micros = -1 WHERE kind = 'user'",
    ],
)
async def test_no_account_is_overdrawn(pool: "asyncpg.Pool[Any]", statement: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(statement)


async def test_a_balance_that_was_tampered_with_is_found(
    pool: "asyncpg.Pool[Any]", database: "asyncpg.Connection[Any]"
) -> None:
    assert await pool.fetch("SELECT * FROM ledger_faults") == []
    change = "UPDATE billing.accounts SET posted_micros = posted_micros + $1 WHERE kind = 'revenue'"
    await database.execute(change, 1)
    found = {row["fault"] for row in await pool.fetch("SELECT * FROM ledger_faults")}
    await database.execute(change, -1)
    assert found == {"posted differs from transfers", "the accounts do not sum to zero"}
