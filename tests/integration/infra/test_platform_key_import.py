"""Platform keys of the environment in Vault: the team gateway with its address; no change, no version."""

import asyncio
from typing import Any

import pytest

from infra.bootstrap import Realm, bootstrap
from tests.loopback import http_client
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

_URL = "https://gateway.example.com/v1"


async def test_the_team_gateways_address_is_beside_its_key(own: TestRealm) -> None:
    assert "AI_GATEWAY_URL is left out: there is no AI_GATEWAY_API_KEY" in await _import(own, {}, _URL)

    await _import(own, {"gateway": ("gw-1",)}, _URL)
    assert await _secret(own, "gateway") == {"api_key": "gw-1", "base_url": _URL}
    await _import(own, {"gateway": ("gw-1", "gw-2")}, _URL)
    assert await _secret(own, "gateway") == {"api_keys": ["gw-1", "gw-2"], "base_url": _URL}


async def test_what_the_environment_does_not_say_stays(own: TestRealm) -> None:
    await _import(own, {"gateway": ("gw-1",)}, _URL)
    await _import(own, {"gateway": ("gw-2",)}, None)
    assert await _secret(own, "gateway") == {"api_key": "gw-2", "base_url": _URL}
    await _import(own, {}, f"{_URL}/2")
    assert await _secret(own, "gateway") == {"api_key": "gw-2", "base_url": f"{_URL}/2"}


async def test_importing_the_same_again_writes_no_version(own: TestRealm) -> None:
    keys = {"openrouter": ("sk-or-1", "sk-or-2"), "openai": ("sk-1",), "gateway": ("gw-9",)}
    versions = []
    for _ in range(3):
        await _import(own, keys, _URL)
        versions.append([await _version(own, service) for service in keys])
    assert versions[0] == versions[1] == versions[2]
    await _import(own, {"openai": ("sk-2",)}, None)
    assert await _version(own, "openai") == versions[0][1] + 1


async def _import(realm: TestRealm, keys: dict[str, tuple[str, ...]], gateway_url: str | None) -> list[str]:
    """Bootstrap again with these platform keys; return what it told."""
    told: list[str] = []
    again = Realm(realm.name, keys, gateway_url)
    await asyncio.to_thread(bootstrap, realm.servers, again, realm.env_dir, progress=told.append)
    return told


async def _secret(realm: TestRealm, service: str) -> dict[str, Any]:
    found: dict[str, Any] = (await _read(realm, f"data/platform/{service}"))["data"]
    return found


async def _version(realm: TestRealm, service: str) -> int:
    version: int = (await _read(realm, f"metadata/platform/{service}"))["current_version"]
    return version


async def _read(realm: TestRealm, path: str) -> dict[str, Any]:
    headers = {"X-Vault-Token": realm.admin["VAULT_TOKEN"]}
    base = f"{realm.admin['VAULT_ADDR']}/v1/{realm.name}/"
    async with http_client(base_url=base, headers=headers) as root:
        found: dict[str, Any] = (await root.get(path)).raise_for_status().json()["data"]
    return found
