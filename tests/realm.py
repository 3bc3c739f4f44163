"""A realm of the tests' own inside the servers, and ways to connect to it as one of its services."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import hvac

from infra.bootstrap import Realm, Servers, bootstrap, drop_realm
from infra.bootstrap.envfiles import read_env
from shared.kernel.secret import SecretText
from shared.runtime.bus import Bus
from shared.runtime.vault import VaultClient

# The fixtures `bus_for`, `pool_for` and `vault_for`.
BusFor: TypeAlias = Callable[[str], Bus]
PoolFor: TypeAlias = Callable[[str], Awaitable["asyncpg.Pool[Any]"]]
VaultFor: TypeAlias = Callable[[str], Awaitable[VaultClient]]


@dataclass(frozen=True)
class TestRealm:
    """`env_dir` holds `<service>.env` and `admin.env`, as the services and the operators get them."""

    __test__ = False

    name: str
    env_dir: Path
    servers: Servers = field(repr=False)

    def env(self, service: str) -> dict[str, str]:
        """Return a service's variables, by name."""
        return read_env(self.env_dir / f"{service}.env")

    def settings(self, service: str) -> dict[str, Any]:
        """Return the same as its settings take it, groups (`LATCHKEY_AUTH__…`) as dicts of their own."""
        values: dict[str, Any] = {}
        for name, value in self.env(service).items():
            group, _, member = name.removeprefix("LATCHKEY_").lower().partition("__")
            if member:
                values.setdefault(group, {})[member] = value
            else:
                values[group] = value
        return values

    def bus(self, service: str, *, graceful_s: float = 15) -> Bus:
        """Make a bus with a service's own login, not started."""
        url, instance = SecretText(self.env(service)["LATCHKEY_AMQP_URL"]), secrets.token_hex(4)
        return Bus(url, service=service, instance=instance, realm=self.name, graceful_s=graceful_s)

    @cached_property
    def admin(self) -> dict[str, str]:
        """Return the administrator's variables: URLs of the realm's vhost and database, Vault's token."""
        return self.env("admin")

    @cached_property
    def public_key(self) -> str:
        """Return key_vault's public sealing key, as it is anchored in Vault."""
        vault = hvac.Client(self.admin["VAULT_ADDR"], self.admin["VAULT_TOKEN"])
        found = vault.secrets.kv.v2.read_secret_version(
            "sealing/public", mount_point=self.name, raise_on_deleted_version=True
        )
        vault.adapter.close()
        return str(found["data"]["data"]["public_key"])


@asynccontextmanager
async def temporary_realm(servers: Servers, folder: Path) -> AsyncIterator[TestRealm]:
    """A bootstrapped realm with a name of its own, dropped at the end."""
    realm = Realm(f"t{secrets.token_hex(4)}")
    try:
        await asyncio.to_thread(bootstrap, servers, realm, folder)
        yield TestRealm(realm.name, folder, servers)
    finally:
        await asyncio.to_thread(drop_realm, servers, realm)
