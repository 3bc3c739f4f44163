"""What the edge's stores promise, held by the fakes and by Postgres."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import asyncpg
import pytest

from services.api_edge.adapters.postgres import Database, PostgresTokenStore
from services.api_edge.adapters.postgres_flows import PostgresFlowStore
from services.api_edge.adapters.postgres_runs import PostgresRunStore
from services.api_edge.api import shipped_flows
from services.api_edge.domain.flows import Flow, FlowChange
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.runs import RunOwner, RunRecord
from services.api_edge.ports import FlowStore, RunStore, TokenStore
from services.api_edge.use_cases.known_flows import KnownFlows
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, KeyPolicy, Role
from tests.fakes.api_edge_runs import InMemoryRunStore
from tests.fakes.api_edge_stores import InMemoryFlowStore, InMemoryTokenStore
from tests.realm import PoolFor, TestRealm

pytestmark = pytest.mark.conformance

Put = Callable[[str, Caller], Awaitable[None]]


@dataclass(frozen=True)
class Stores:
    """`put` and `revoke` are what an operator does."""

    runs: RunStore
    flows: FlowStore
    tokens: TokenStore
    put: Put
    revoke: Callable[[str], Awaitable[None]]


def _in_memory() -> Stores:
    tokens = InMemoryTokenStore()

    async def put(token: str, caller: Caller) -> None:
        tokens.put(token, caller)

    async def revoke(token: str) -> None:
        tokens.revoke(token)

    return Stores(InMemoryRunStore(), InMemoryFlowStore(), tokens, put, revoke)


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

    return Stores(
        PostgresRunStore(database), PostgresFlowStore(database), PostgresTokenStore(database), put, revoke
    )


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
    assert await stores.runs.owner(mine.run_id) == RunOwner("alice")
    assert await stores.runs.owner(other.run_id) == RunOwner("bob")
    assert await stores.runs.owner(new_id()) is None


async def test_many_runs_at_once_are_all_kept(stores: Stores) -> None:
    runs = [_run(f"user-{number}") for number in range(300)]
    await asyncio.gather(*(stores.runs.add(run) for run in runs))
    owners = await asyncio.gather(*(stores.runs.owner(run.run_id) for run in runs))
    assert owners == [RunOwner(run.user_id) for run in runs]


async def test_a_token_names_its_caller_until_it_is_revoked(stores: Stores) -> None:
    token, caller = f"lk_{secrets.token_urlsafe(32)}", Caller("carol", Role.SERVICE)
    assert await stores.tokens.find(_digest(token)) is None
    await stores.put(token, caller)
    assert await stores.tokens.find(_digest(token)) == caller
    await stores.revoke(token)
    assert await stores.tokens.find(_digest(token)) is None


def _flow(name: str) -> Flow:
    return Flow(name, KeyPolicy.USER_KEY_PREFERRED, "openai/gpt-4o-mini", "A flow: più di ciò.")


def _new_name() -> str:
    return f"flow_{secrets.token_hex(8)}"


async def _kept(flows: FlowStore, name: str) -> Flow:
    return next(flow for flow in await flows.all() if flow.name == name)


async def test_what_ships_is_kept(stores: Stores) -> None:
    await stores.flows.seed(tuple(shipped_flows()))
    kept = {flow.name: flow for flow in await stores.flows.all()}
    for flow in shipped_flows():
        assert kept[flow.name].updated_at is not None
        assert replace(kept[flow.name], updated_at=None) == flow
    assert list(kept) == sorted(kept)


async def test_seeding_leaves_what_is_there(stores: Stores) -> None:
    name, other = _new_name(), _new_name()
    await stores.flows.seed((_flow(name),))
    changed = await stores.flows.change(name, FlowChange(policy=KeyPolicy.PLATFORM_ONLY), by="root")
    await asyncio.gather(*(stores.flows.seed((_flow(name), _flow(other))) for _ in range(5)))
    assert await _kept(stores.flows, name) == changed
    assert (await _kept(stores.flows, other)).policy is KeyPolicy.USER_KEY_PREFERRED


async def test_a_change_changes_what_it_names(stores: Stores) -> None:
    name = _new_name()
    await stores.flows.seed((_flow(name),))
    known = await _kept(stores.flows, name)
    for change in (
        FlowChange(policy=KeyPolicy.SYSTEM),
        FlowChange(default_model="groq/m"),
        FlowChange(description="Another."),
        FlowChange(report_only=True),
        FlowChange(report_only=False, policy=KeyPolicy.USER_KEY_REQUIRED),
    ):
        changed = await stores.flows.change(name, change, by="root")
        named = {field: value for field, value in asdict(change).items() if value is not None}
        assert changed is not None
        assert changed == await _kept(stores.flows, name)
        assert replace(changed, updated_at=known.updated_at) == replace(known, **named)
        known = changed


async def test_an_unknown_flow_is_not_made(stores: Stores) -> None:
    name = _new_name()
    assert await stores.flows.change(name, FlowChange(report_only=True), by="root") is None
    assert all(flow.name != name for flow in await stores.flows.all())


async def test_who_changed_a_flow_is_noted(postgres: Stores, pool_for: PoolFor) -> None:
    name = _new_name()
    await postgres.flows.seed((_flow(name),))
    pool = await pool_for(API_EDGE)
    noted = "SELECT updated_by, updated_at FROM flows WHERE task_name = $1"
    before = await pool.fetchrow(noted, name)
    await postgres.flows.change(name, FlowChange(report_only=True), by="root")
    after = await pool.fetchrow(noted, name)
    assert before is not None
    assert after is not None
    assert (before["updated_by"], after["updated_by"]) == (None, "root")
    assert after["updated_at"] > before["updated_at"]


async def test_a_change_on_one_instance_holds_on_another_within_a_second(stores: Stores) -> None:
    name = _new_name()
    await stores.flows.seed((_flow(name),))
    one, other = (KnownFlows(stores.flows, shipped_flows()) for _ in range(2))
    assert (await other()).named(name, Role.USER).policy is KeyPolicy.USER_KEY_PREFERRED
    await one.change(name, FlowChange(policy=KeyPolicy.USER_KEY_REQUIRED), by="root")
    assert (await one()).named(name, Role.USER).policy is KeyPolicy.USER_KEY_REQUIRED
    await asyncio.sleep(1.05)
    assert (await other()).named(name, Role.USER).policy is KeyPolicy.USER_KEY_REQUIRED


async def test_before_postgres_is_there_everything_says_so() -> None:
    database = Database()
    for asked in (
        PostgresRunStore(database).add(_run()),
        PostgresRunStore(database).owner(new_id()),
        PostgresTokenStore(database).find(b""),
        PostgresFlowStore(database).seed((_flow("chat"),)),
        PostgresFlowStore(database).all(),
        PostgresFlowStore(database).change("chat", FlowChange(), by="root"),
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
        "DELETE FROM flows",
        "TRUNCATE flows",
        "SELECT * FROM key_vault.credentials",
        "CREATE TABLE mine ()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
