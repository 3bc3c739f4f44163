"""The bootstrap on real servers: repeatable, refusing, and complete."""

import asyncio
import shutil
import time
from dataclasses import replace
from pathlib import Path

import asyncpg
import httpx2
import pytest

from infra.bootstrap import BootstrapError, Realm, Servers, bootstrap, drop_realm, mint_token, rabbitmq
from infra.bootstrap.envfiles import read_env
from infra.bootstrap.http import Api
from infra.bootstrap.migrations import migrate
from infra.bootstrap.postgres import connect
from infra.bootstrap.realm import url_for
from infra.bootstrap.tokens import is_token_of
from shared.contracts.topology import RPC_QUEUES
from shared.kernel.names import SERVICES
from tests.loopback import http_client
from tests.realm import TestRealm, temporary_realm

pytestmark = pytest.mark.integration

_FILES = [f"{name}.env" for name in (*SERVICES, "admin")]


async def test_a_second_time_changes_nothing(realm: TestRealm, servers: Servers) -> None:
    before = {name: (realm.env_dir / name).read_text() for name in _FILES}
    await asyncio.to_thread(bootstrap, servers, Realm(realm.name), realm.env_dir)
    assert {name: (realm.env_dir / name).read_text() for name in _FILES} == before


async def test_its_files_are_private(realm: TestRealm) -> None:
    assert {(realm.env_dir / name).stat().st_mode & 0o777 for name in _FILES} == {0o600}


async def test_a_realm_is_made_quickly_and_goes_without_a_trace(servers: Servers, tmp_path: Path) -> None:
    realm = Realm("t_short_lived", {"openai": ("sk-one",), "groq": ("gsk-1", "gsk-2")})
    start = time.monotonic()
    await asyncio.to_thread(bootstrap, servers, realm, tmp_path)
    assert time.monotonic() - start < 10  # about 0.5 s on an idle machine
    admin = read_env(tmp_path / "admin.env")
    assert await _secret(admin, "t_short_lived/data/platform/openai") == {"api_key": "sk-one"}
    assert await _secret(admin, "t_short_lived/data/platform/groq") == {"api_keys": ["gsk-1", "gsk-2"]}
    await asyncio.to_thread(drop_realm, servers, realm)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(admin["LATCHKEY_POSTGRES_URL"])
    await asyncio.to_thread(drop_realm, servers, realm)


async def test_platform_keys_of_ops_stay(realm: TestRealm, servers: Servers) -> None:
    imported = Realm(realm.name, {"xai": ("xai-1",)})
    await asyncio.to_thread(bootstrap, servers, imported, realm.env_dir)
    await asyncio.to_thread(bootstrap, servers, Realm(realm.name), realm.env_dir)
    assert await _secret(realm.admin, f"{realm.name}/data/platform/xai") == {"api_key": "xai-1"}


async def test_a_jwt_secret_that_is_given_is_kept(servers: Servers, realm: TestRealm, tmp_path: Path) -> None:
    folder = tmp_path / "env"
    shutil.copytree(realm.env_dir, folder)
    given = Realm(realm.name, jwt_secret="x" * 40)
    for asked in (given, Realm(realm.name)):
        await asyncio.to_thread(bootstrap, servers, asked, folder)
        assert read_env(folder / "api_edge.env")["LATCHKEY_AUTH__JWT_SECRET"] == "x" * 40
    assert "xxxx" not in repr(given)


async def test_rpc_queues_are_of_the_type_that_a_broker_of_so_many_nodes_wants(
    servers: Servers, tmp_path: Path
) -> None:
    async with temporary_realm(servers, tmp_path) as made:
        assert [await asyncio.to_thread(_rpc_types, servers, made.name, nodes) for nodes in (3, 3, 1)] == [
            {"quorum"},
            {"quorum"},
            {"classic"},
        ]


def _rpc_types(servers: Servers, name: str, nodes: int) -> set[str]:
    """Declare what a broker of so many nodes is to have; return the types of its RPC queues."""
    with rabbitmq.administrator(servers) as http:
        api = Api("rabbitmq", http)
        rabbitmq.declare(api, servers, Realm(name), rabbitmq.definitions(nodes), timeout_s=20)
        return {api.call("GET", f"/api/queues/{name}/{queue}")["type"] for queue in RPC_QUEUES}


async def test_the_sealing_pair_is_one_pair(realm: TestRealm) -> None:
    private = await _secret(realm.admin, f"{realm.name}/data/sealing/private")
    public = await _secret(realm.admin, f"{realm.name}/data/sealing/public")
    assert list(private) == ["private_key"]
    assert list(public) == ["public_key"]


async def test_what_postgres_keeps_of_a_password_is_what_proves_it(
    servers: Servers, realm: TestRealm
) -> None:
    async with connect(servers.postgres_url) as admin:
        kept = await admin.fetchval(
            "SELECT rolpassword FROM pg_authid WHERE rolname = $1", f"{realm.name}_billing"
        )
    assert kept.startswith("SCRAM-SHA-256$4096:")


async def test_a_folder_that_cannot_be_written_changes_no_login(
    servers: Servers, realm: TestRealm, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BootstrapError, match="file cannot be written"):
        await asyncio.to_thread(bootstrap, servers, Realm(realm.name), tmp_path / "file")
    await (await asyncpg.connect(realm.env("billing")["LATCHKEY_POSTGRES_URL"])).close()


async def test_another_namespace_is_refused_for_users_keys_are_in_the_first(
    servers: Servers, realm: TestRealm
) -> None:
    elsewhere = replace(servers, vault_namespace="elsewhere")
    with pytest.raises(BootstrapError, match="namespace was the root, VAULT_NAMESPACE says elsewhere"):
        await asyncio.to_thread(bootstrap, elsewhere, Realm(realm.name), realm.env_dir)


async def test_what_postgres_refuses_is_said_in_a_line(servers: Servers, tmp_path: Path) -> None:
    stranger = replace(
        servers, postgres_url=url_for(servers.postgres_url, user="nobody", password="x", path="x")
    )
    try:
        with pytest.raises(BootstrapError, match="postgres refuses: ") as told:
            await asyncio.to_thread(bootstrap, stranger, Realm("t_stranger"), tmp_path)
        assert "\n" not in str(told.value)
    finally:
        await asyncio.to_thread(drop_realm, servers, Realm("t_stranger"))


async def test_a_login_that_rabbitmq_refuses_is_told(servers: Servers, tmp_path: Path) -> None:
    user, _ = rabbitmq.management_login(servers)
    wrong = url_for(servers.management_url, user=user, password="wrong", path="")
    realm = Realm("t_wrong")
    try:
        with pytest.raises(BootstrapError, match=r"^rabbitmq refuses .*: Login failed"):
            await asyncio.to_thread(
                bootstrap, replace(servers, management_url=wrong), realm, tmp_path, timeout_s=0.5
            )
    finally:
        await asyncio.to_thread(drop_realm, servers, realm)


async def test_a_missing_server_is_named(servers: Servers, tmp_path: Path) -> None:
    nowhere = Servers(
        servers.amqp_url, "http://127.0.0.1:9", servers.vault_addr, servers.vault_token, servers.postgres_url
    )
    with pytest.raises(BootstrapError, match="rabbitmq is not ready after 1 s"):
        await asyncio.to_thread(bootstrap, nowhere, Realm("t_missing"), tmp_path, timeout_s=1)
    await asyncio.to_thread(drop_realm, servers, Realm("t_missing"))


async def test_an_applied_migration_may_not_change(realm: TestRealm, tmp_path: Path) -> None:
    folder = tmp_path / "m" / "migrations"
    folder.mkdir(parents=True)
    file = folder / "0001_first.sql"
    file.write_text("CREATE TABLE first (x int); GRANT SELECT ON first TO :service_role")
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        await database.execute("CREATE SCHEMA m")
        role = f"{realm.name}_billing"
        await migrate(database, "m", "m", role=role, folder=tmp_path)
        await migrate(database, "m", "m", role=role, folder=tmp_path)
        (folder / "0002_bad.sql").write_text("CREATE TABLE second (x int); SELECT 1/0")
        with pytest.raises(BootstrapError, match="0002_bad failed"):
            await migrate(database, "m", "m", role=role, folder=tmp_path)
        assert await database.fetchval("SELECT to_regclass('m.second')") is None
        (folder / "0002_bad.sql").unlink()
        file.write_text("CREATE TABLE first (x bigint)")
        with pytest.raises(BootstrapError, match="0001_first was changed"):
            await migrate(database, "m", "m", role=role, folder=tmp_path)


async def test_a_minted_token_is_kept_as_its_hash(realm: TestRealm) -> None:
    url = realm.admin["LATCHKEY_POSTGRES_URL"]
    token = await asyncio.to_thread(mint_token, url, Realm(realm.name), "dora", "user")
    assert len(token) == 46
    assert await asyncio.to_thread(is_token_of, url, token, "dora", "user")
    assert not await asyncio.to_thread(is_token_of, url, token, "dora", "admin")
    async with connect(url) as database:
        rows = await database.fetch("SELECT * FROM edge.api_tokens WHERE user_id = 'dora'")
    assert token not in str(rows)


async def test_an_approle_login_is_short_and_renewable(realm: TestRealm) -> None:
    env = realm.env("key_vault")
    login = {"role_id": env["LATCHKEY_VAULT_ROLE_ID"], "secret_id": env["LATCHKEY_VAULT_SECRET_ID"]}
    async with _vault(realm.admin) as root:
        auth = (await root.post("auth/approle/login", json=login)).json()["auth"]
        renewed = await root.post("auth/token/renew-self", headers={"X-Vault-Token": auth["client_token"]})
    assert (auth["lease_duration"], auth["renewable"]) == (3600, True)
    assert auth["token_policies"] == [f"{realm.name}_key_vault"]
    assert renewed.status_code == 200


def _vault(admin: dict[str, str]) -> httpx2.AsyncClient:
    headers = {"X-Vault-Token": admin["VAULT_TOKEN"]}
    return http_client(base_url=f"{admin['VAULT_ADDR']}/v1/", headers=headers)


async def _secret(admin: dict[str, str], path: str) -> dict[str, object]:
    async with _vault(admin) as root:
        data: dict[str, object] = (await root.get(path)).json()["data"]["data"]
    return data
