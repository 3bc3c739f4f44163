"""The master key is rotated and 10,000 credentials rewrapped while runs go on; then the old key is shut."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx2
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from shared.kernel.names import API_EDGE, KeyService
from tests.acceptance.callers import Caller
from tests.acceptance.house import House, running_house
from tests.integration.key_vault.clients import Edge
from tests.loopback import http_client
from tests.realm import TestRealm, temporary_realm

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(580)]

CREDENTIALS: Final = 10_000
PER_USER: Final = 50
STORING: Final = 48
OWNERS: Final = 8
BATCH: Final = 200


@pytest_asyncio.fixture
async def busy_house(servers: Servers, tmp_path: Path) -> AsyncIterator[House]:
    async with (
        temporary_realm(servers, tmp_path) as realm,
        running_house(realm, tmp_path, workers=2, gated=False) as house,
    ):
        yield house


async def test_rotation_and_rewrap_of_10_000_credentials_while_runs_go_on(busy_house: House) -> None:
    house = busy_house
    await store_many(house.realm)
    owners = [await an_owner(house) for _ in range(OWNERS)]
    [old] = await house.rows("SELECT ciphertext, user_id, id, version FROM key_vault.credentials LIMIT 1")
    statuses: Counter[int] = Counter()
    load = [asyncio.create_task(ask_on(owner, statuses)) for owner in owners]

    started = time.monotonic()
    async with ops(house.realm) as vault:
        (await vault.post("keys/credentials/rotate")).raise_for_status()
        version = await rewrap_all(house)
        limit = {"min_decryption_version": version, "min_encryption_version": version}
        (await vault.post("keys/credentials/config", json=limit)).raise_for_status()
        refused = await vault.post("decrypt/credentials", json={"ciphertext": old["ciphertext"]})
    print(f"\nrewrapped {CREDENTIALS} credentials in {time.monotonic() - started:.0f} s")  # noqa: T201
    await asyncio.sleep(2)
    for task in load:
        task.cancel()

    assert refused.status_code == 400
    assert "too old" in refused.text, refused.text
    assert set(statuses) == {200}, statuses
    assert statuses[200] > 100, statuses
    left = await house.rows("SELECT 1 FROM key_vault.credentials WHERE key_version < $1", version)
    assert left == []


async def rewrap_all(house: House) -> int:
    """What `latchkey rewrap` does; return the version that everything is under."""
    admin = await house.caller("admin", "admin")
    while True:
        answer = await admin.http.post("/api/admin/keys/rewrap", json={"limit": BATCH})
        told: dict[str, int] = answer.raise_for_status().json()
        if told["remaining"] == 0:
            return told["key_version"]


async def an_owner(house: House) -> Caller:
    owner = await house.caller("owner")
    await owner.store_key(f"sk-sim-own-{secrets.token_hex(8)}")
    return owner


async def ask_on(caller: Caller, statuses: Counter[int]) -> None:
    while True:
        statuses[(await caller.ask("go on")).status_code] += 1


async def store_many(realm: TestRealm) -> None:
    """Store keys over the bus, as the edge would: so many validations would only take time."""
    bus = realm.bus(API_EDGE)
    await bus.start()
    try:
        edge = Edge(bus, realm.public_key)
        numbers = iter(range(CREDENTIALS))

        async def store_on() -> None:
            for number in numbers:
                user = f"crowd-{number // PER_USER}"
                await edge.keep(f"sk-crowd-{number:06}", user_id=user, service=KeyService.GROQ)

        await asyncio.gather(*(store_on() for _ in range(STORING)))
    finally:
        await bus.stop()


def ops(realm: TestRealm) -> httpx2.AsyncClient:
    """An operator at Vault's API, inside the Transit mount."""
    return http_client(
        base_url=f"{realm.servers.vault_addr}/v1/{realm.name}_transit/",
        headers={"X-Vault-Token": realm.servers.vault_token},
    )
