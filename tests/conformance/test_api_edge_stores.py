"""What the edge's stores promise, held by the fakes and by Postgres."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from services.api_edge.adapters.postgres import Database, PostgresRunStore, PostgresTokenStore
from services.api_edge.domain.identity import Caller
from services.api_edge.ports import RunRecord, RunStore, TokenStore
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, Role
from tests.fakes.api_edge import InMemoryRunStore, InMemoryTokenStore
from tests.realm import PoolFor, TestRealm

pytestmark = pytest.mark.conformance

Put = Callable[[str, Caller], Awaitable[None]]


@dataclass(frozen=True)
class Stores:
    """`put` and `revoke` are what an operator does."""

    runs: RunStore
    tokens: TokenStore
    put: Put
    revoke: Callable[[str], Awaitable[None]]


def _in_memory() -> Stores:
    tokens = InMemoryTokenStore()

    async def put(token: str, caller: Caller) -> None:
        tokens.put(token, caller)

    async def revoke(token: str) -> None:
        tokens.revoke(token)

    return Stores(InMemoryRunStore(), tokens, put, revoke)


def _in_postgres(pool: "asyncpg.Pool[Any]", admin_url: str) -> Stores:
    database = Database(pool)

    async def as_admin(statement: str, *values: object) -> None:
        connection = await asyncpg.connect(admin_url)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    async def put(token: str, caller: Caller) -> None:
        insert = "INSERT INTO edge.api_tokens (token_sha256, user_id, role) VALUES ($1, $2, $3)"
        await as_admin(insert, _digest(token), caller.user_id, caller.role)

    async def revoke(token: str) -> None:
        update = "UPDATE edge.api_tokens SET revoked_at = now() WHERE token_sha256 = $1"
        await as_admin(update, _digest(token))

    return Stores(PostgresRunStore(database), PostgresTokenStore(database), put, revoke)


@pytest.fixture
def memory() -> Stores:
    return _in_memory()


@pytest.fixture
async def postgres(realm: TestRealm, pool_for: PoolFor) -> Stores:
    return _in_postgres(await pool_for(API_EDGE), realm.admin["LATCHKEY_POSTGRES_URL"])


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    found: Stores = request.getfixturevalue(request.param)
    return found


def _run(user_id: str = "alice") -> RunRecord:
    return RunRecord(new_id(), user_id, "chat", "openai/gpt-4o-mini", stream=True)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def test_a_run_has_an_owner(stores: Stores) -> None:
    mine, other = _run(), _run("bob")
    await stores.runs.add(mine)
    await stores.runs.add(other)
    assert await stores.runs.owner(mine.run_id) == "alice"
    assert await stores.runs.owner(other.run_id) == "bob"
    assert await stores.runs.owner(new_id()) is None


async def test_many_runs_at_once_are_all_kept(stores: Stores) -> None:
    runs = [_run(f"user-{number}") for number in range(300)]
    await asyncio.gather(*(stores.runs.add(run) for run in runs))
    owners = await asyncio.gather(*(stores.runs.owner(run.run_id) for run in runs))
    assert owners == [run.user_id for run in runs]


async def test_a_token_names_its_caller_until_it_is_revoked(stores: Stores) -> None:
    token, caller = f"lk_{secrets.token_urlsafe(32)}", Caller("carol", Role.SERVICE)
    assert await stores.tokens.find(_digest(token)) is None
    await stores.put(token, caller)
    assert await stores.tokens.find(_digest(token)) == caller
    await stores.revoke(token)
    assert await stores.tokens.find(_digest(token)) is None


async def test_before_postgres_is_there_everything_says_so() -> None:
    database = Database()
    for asked in (
        PostgresRunStore(database).add(_run()),
        PostgresRunStore(database).owner(new_id()),
        PostgresTokenStore(database).find(b""),
        database.answers(),
    ):
        with pytest.raises(DatabaseUnavailableError):
            await asked
    await database.close()


async def test_the_edges_role_may_do_no_more_than_it_must(realm: TestRealm, pool_for: PoolFor) -> None:
    pool = await pool_for(API_EDGE)
    for statement in (
        "INSERT INTO api_tokens (token_sha256, user_id, role) VALUES ('\\x00', 'eve', 'admin')",
        "UPDATE api_tokens SET role = 'admin'",
        "DELETE FROM api_tokens",
        "UPDATE runs SET user_id = 'eve'",
        "DELETE FROM runs",
        "SELECT * FROM key_vault.credentials",
        "CREATE TABLE mine ()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
