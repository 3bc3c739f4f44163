"""An installation on servers of its own: TLS by a private authority, a namespace in Vault, a token of the
documented policy, and a Postgres administrator who is no superuser.
"""

import asyncio
import re
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
import trustme

from infra.bootstrap import Realm, Servers, drop_realm
from infra.bootstrap.postgres import connect
from infra.bootstrap.realm import url_for
from infra.local.home import CHECKOUT
from shared.kernel.names import API_EDGE, BILLING, KEY_VAULT
from tests.acceptance.house import House, running_house
from tests.latchkey import latchkey
from tests.nursery import Nursery
from tests.own_vault import BAO, ROOT, OwnVault, own_vault
from tests.processes import done, service_process
from tests.realm import TestRealm
from tests.tls import over_tls

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

_NAMESPACE: Final = "team"
_DOCUMENT: Final = (CHECKOUT / "docs" / "operations.md").read_text().partition("## Servers of your own")[2]
_EXPORTS: Final = re.findall(r"^export (.*)$", _DOCUMENT, re.MULTILINE)
_PARTS: Final = (KEY_VAULT, BILLING, "inference-1", API_EDGE)


@dataclass(frozen=True)
class Installation:
    """A realm that is to be in these servers, as operators reach them; `authority` vouches for them."""

    name: str
    servers: Servers
    authority: Path

    def environment(self) -> dict[str, str]:
        return {
            "LATCHKEY_AMQP_URL": self.servers.amqp_url,
            "RABBITMQ_MANAGEMENT_URL": self.servers.management_url,
            "LATCHKEY_POSTGRES_URL": self.servers.postgres_url,
            "VAULT_ADDR": self.servers.vault_addr,
            "VAULT_NAMESPACE": _NAMESPACE,
            "VAULT_TOKEN": self.servers.vault_token,
        }

    async def bootstrap(self, out: Path, **env: str) -> str:
        command = (sys.executable, "-m", "infra.bootstrap", "--realm", self.name, "--out", str(out))
        return await done(*command, timeout_s=60, **{**self.environment(), **env})


@pytest_asyncio.fixture(scope="module")
async def installation(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    folder, name = tmp_path_factory.mktemp("own"), f"t{secrets.token_hex(4)}"
    async with own_vault(folder) as vault, _an_administrator(servers, name) as postgres_url:
        servers = replace(servers, postgres_url=postgres_url)
        roots = replace(servers, vault_addr=vault.addr, vault_token=ROOT, vault_namespace=_NAMESPACE)
        theirs = replace(roots, vault_token=await _a_token(vault, name))
        try:
            async with over_tls(theirs, folder / "authority.pem") as told:
                yield Installation(name, told, folder / "authority.pem")
        finally:
            await asyncio.to_thread(drop_realm, roots, Realm(name))


@pytest_asyncio.fixture(scope="module")
async def own_house(
    installation: Installation, parents: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    folder, trust = tmp_path_factory.mktemp("house"), {"SSL_CERT_FILE": str(installation.authority)}
    await installation.bootstrap(folder, **trust)
    realm = TestRealm(installation.name, folder, installation.servers)
    env = dict.fromkeys(_PARTS, trust)
    async with running_house(realm, folder, workers=1, gated=False, env=env, parents=parents) as house:
        yield house


async def _a_token(vault: OwnVault, realm: str) -> str:
    """Make the namespace, and in it, as documented, a token that may do what the bootstrap does."""
    await asyncio.to_thread(vault.client().write_data, f"sys/namespaces/{_NAMESPACE}")
    (export,) = (export for export in _EXPORTS if export.startswith("VAULT_TOKEN"))
    export = export.replace("vault ", f"{BAO} ").replace("/latchkey/", f"/{realm}/")
    env = {"VAULT_ADDR": vault.addr, "VAULT_NAMESPACE": _NAMESPACE, "VAULT_TOKEN": ROOT}
    script = f"cd {CHECKOUT} && export {export} && echo token=$VAULT_TOKEN"
    return (await done("sh", "-c", script, timeout_s=30, **env)).rpartition("token=")[2]


@asynccontextmanager
async def _an_administrator(servers: Servers, realm: str) -> AsyncIterator[str]:
    """Yield the URL of a role that may create databases and roles, as managed servers have it."""
    role = f"{realm}_operator"
    async with connect(servers.postgres_url) as admin:
        await admin.execute(f"CREATE ROLE {role} LOGIN CREATEDB CREATEROLE PASSWORD 'secret'")
        try:
            yield url_for(servers.postgres_url, user=role, password="secret", path="postgres")
        finally:
            await admin.execute(f"DROP ROLE {role}")


def test_what_the_bootstrap_reads_is_documented(installation: Installation) -> None:
    documented = {name for export in _EXPORTS for name in re.findall(r"([A-Z_]+)=", export)}
    assert documented == {*installation.environment(), "SSL_CERT_FILE"}


async def test_runs_are_served_and_paid(own_house: House) -> None:
    owner, payer = await own_house.caller("owner"), await own_house.caller("payer")
    await owner.store_key(f"sk-sim-own-{secrets.token_hex(8)}")
    await own_house.grant(payer, 1_000_000)
    for caller, source in ((owner, "user"), (payer, "platform")):
        answer = (await caller.ask("Hello")).raise_for_status()
        assert answer.json()["latchkey"]["key_source"] == source
        receipt = await own_house.receipt(caller, answer.headers["latchkey-run-id"])
        assert receipt["attempts"][0]["key_source"] == source


async def test_the_operators_commands_reach_them(own_house: House, installation: Installation) -> None:
    for words in (("ledger", "verify"), ("ledger", "rebuild", "--check"), ("dead-letters",)):
        answer = await latchkey(own_house.realm, *words, SSL_CERT_FILE=str(installation.authority))
        assert answer[0] == 0, answer


async def test_a_second_bootstrap_changes_nothing(own_house: House, installation: Installation) -> None:
    folder = own_house.realm.env_dir
    before = {file.name: file.read_text() for file in folder.glob("*.env")}
    await installation.bootstrap(folder, SSL_CERT_FILE=str(installation.authority))
    assert {file.name: file.read_text() for file in folder.glob("*.env")} == before


@pytest.mark.parametrize(
    ("service", "reason", "event"),
    [
        (KEY_VAULT, "SSLError", "vault login failed"),
        (BILLING, "SSLCertVerificationError", "waiting for rabbitmq"),
    ],
)
async def test_services_log_whom_they_do_not_trust(
    own_house: House, service: str, reason: str, event: str
) -> None:
    env = {"LATCHKEY_ENV_FILE": str(own_house.realm.env_dir / f"{service}.env")}
    wanted = f'"reason":"{reason}","event":"{event}"'.encode()
    async with service_process(service, env) as process, asyncio.timeout(20):
        assert process.stdout is not None
        while wanted not in (line := await process.stdout.readline()):
            assert line, f"{service} has ended"


async def test_who_does_not_know_the_authority_is_told(installation: Installation, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "another.pem"))
    url = installation.servers.postgres_url.replace(str(installation.authority), f"{tmp_path}/another.pem")
    with pytest.raises(RuntimeError) as told:
        await installation.bootstrap(tmp_path, LATCHKEY_POSTGRES_URL=url)
    for part in ("rabbitmq", "vault", "postgres"):
        assert f"{part} is not trusted: unable to get local issuer certificate" in str(told.value)
