"""What each service may do in Vault: every path that matters, by its own AppRole login."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, SERVICES
from tests.loopback import http_client
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

RENEW = {"auth/token/renew-self": {"update"}}
# `R`: the realm's name. What is not here is denied.
ALLOWED: dict[str, dict[str, set[str]]] = {
    API_EDGE: {**RENEW, "R/data/sealing/public": {"read"}},
    KEY_VAULT: {
        **RENEW,
        "R/data/sealing/private": {"read"},
        "R/data/platform/openai": {"read"},
        "R/data/platform/gateway": {"read"},
        "R/metadata/platform/openai": {"read", "list"},
        "R/metadata/platform/": {"read", "list"},
        "R_transit/keys/credentials": {"read"},
        "R_transit/encrypt/credentials": {"update"},
        "R_transit/decrypt/credentials": {"update"},
        "R_transit/hmac/fingerprints": {"update"},
    },
    INFERENCE: RENEW,
    BILLING: RENEW,
}
_KV = (
    *("data/sealing/public", "data/sealing/private", "data/platform/openai", "data/platform/gateway"),
    *("data/other", "metadata/platform/", "metadata/platform/openai", "metadata/sealing/private"),
    *("metadata/", "delete/platform/openai", "undelete/platform/openai", "destroy/platform/openai"),
    "config",
)
_KEYS = ("credentials", "fingerprints", "others")
_DEEDS = (
    *("encrypt", "decrypt", "rewrap", "hmac", "verify", "sign", "datakey/plaintext", "datakey/wrapped"),
    *("backup", "keys", "export/encryption-key", "export/hmac-key", "export/signing-key"),
)
_TRANSIT = (
    *(f"{deed}/{key}" for deed in _DEEDS for key in _KEYS),
    *(f"keys/{key}/{deed}" for key in _KEYS for deed in ("rotate", "config", "trim", "import")),
    *("keys", "restore", "cache-config", "random"),
)
_SERVER = (
    *("sys/mounts", "sys/mounts/R", "sys/remount", "sys/seal", "sys/rotate", "sys/rekey/init", "sys/raw/x"),
    *("sys/auth", "sys/auth/approle", "sys/audit", "sys/policies/acl", "sys/policies/acl/R_billing"),
    *("sys/leases/lookup/x", "sys/storage/raft/snapshot", "sys/config/cors", "sys/capabilities"),
    *("auth/token/create", "auth/token/create-orphan", "auth/token/lookup", "auth/token/renew-self"),
    *("auth/token/revoke-accessor", "auth/approle/role", "identity/entity", "cubbyhole/x"),
    *(f"auth/approle/role/R_{service}/{what}" for service in SERVICES for what in ("secret-id", "role-id")),
)


@pytest.fixture(params=SERVICES)
async def who(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@asynccontextmanager
async def _vault(realm: TestRealm, token: str = "") -> AsyncIterator[httpx2.AsyncClient]:
    """Vault with a token; the administrator's when none is given."""
    headers = {"X-Vault-Token": token or realm.admin["VAULT_TOKEN"]}
    base_url = f"{realm.admin['VAULT_ADDR']}/v1/"
    async with http_client(base_url=base_url, headers=headers) as client:
        yield client


async def _token(realm: TestRealm, who: str) -> str:
    """Log in as a service. The stack gives no login to those without business in Vault; they get one here."""
    role = f"auth/approle/role/{realm.name}_{who}"
    async with _vault(realm) as root:
        role_id = await _told(root.get(f"{role}/role-id"), "role_id")
        secret_id = await _told(root.post(f"{role}/secret-id"), "secret_id")
        login = await root.post("auth/approle/login", json={"role_id": role_id, "secret_id": secret_id})
        token: str = login.raise_for_status().json()["auth"]["client_token"]
    return token


async def _told(asking: Any, name: str) -> Any:
    return (await asking).raise_for_status().json()["data"][name]


def _paths(realm: TestRealm, other: TestRealm) -> list[str]:
    mounts = [(name, f"{name}_transit") for name in (realm.name, other.name)]
    return [
        *(f"{kv}/{path}" for kv, _ in mounts for path in _KV),
        *(f"{transit}/{path}" for _, transit in mounts for path in _TRANSIT),
        *(path.replace("R", realm.name) for path in _SERVER),
    ]


async def test_it_may_do_in_vault_what_is_in_the_table(own: TestRealm, realm: TestRealm, who: str) -> None:
    paths, token = _paths(own, realm), await _token(own, who)
    async with _vault(own) as root:
        answer = await root.post("sys/capabilities", json={"token": token, "paths": paths})
        capable = answer.raise_for_status().json()["data"]
    found = {path: set(capable[path]) for path in paths if capable[path] != ["deny"]}
    assert found == {path.replace("R", own.name, 1): rights for path, rights in ALLOWED[who].items()}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "R_transit/keys/fingerprints"),
        ("GET", "R_transit/export/encryption-key/credentials"),
        ("POST", "R_transit/keys/mine"),
        ("POST", "R_transit/encrypt/mine"),
        ("POST", "R_transit/keys/credentials/rotate"),
        ("POST", "R_transit/keys/credentials/config"),
        ("POST", "R/data/platform/openai"),
        ("DELETE", "R/data/platform/openai"),
        ("GET", "OTHER/data/sealing/public"),
        ("GET", "OTHER/data/platform/openai"),
        ("POST", "OTHER_transit/encrypt/credentials"),
        ("GET", "sys/mounts"),
        ("GET", "sys/audit"),
        ("PUT", "sys/policies/acl/R_billing"),
        ("POST", "auth/token/create"),
        ("GET", "auth/token/lookup-self"),
        ("POST", "auth/approle/role/R_key_vault/secret-id"),
    ],
)
async def test_it_is_refused_the_rest(
    own: TestRealm, realm: TestRealm, who: str, method: str, path: str
) -> None:
    where = path.replace("OTHER", realm.name).replace("R", own.name, 1)
    async with _vault(own, await _token(own, who)) as vault:
        answer = await vault.request(method, where, json=None if method == "GET" else {"plaintext": "eA=="})
    assert answer.status_code == httpx2.codes.FORBIDDEN, answer.text


async def test_nobody_enters_with_anothers_login(own: TestRealm) -> None:
    edge, keeper = own.env(API_EDGE), own.env(KEY_VAULT)
    mixed = {
        "role_id": keeper["LATCHKEY_VAULT_ROLE_ID"],
        "secret_id": edge["LATCHKEY_VAULT_SECRET_ID"],
    }
    async with _vault(own) as root:
        answer = await root.post("auth/approle/login", json=mixed)
    assert answer.is_error
