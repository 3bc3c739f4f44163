"""Keys are sealed with the key that Vault holds; money is asked of billing; ids of others are not found."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from tests.fakes.api_edge import billed
from tests.integration.api_edge.house import House

pytestmark = pytest.mark.integration

Mint = Callable[..., Awaitable[str]]
CANARY = "sk-canary-0123456789abcdef"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


async def test_only_key_vault_can_read_a_stored_key(house: House, mint: Mint) -> None:
    async with house.client(await mint()) as client:
        body = {"service": "openai", "api_key": CANARY, "baseUrl": "https://llm.example/v1"}
        stored = await client.post("/api/keys", json=body)
        listed = await client.get("/api/keys")
        gone = await client.delete(f"/api/keys/{stored.json()['id']}")
        after = await client.get("/api/keys")
    assert stored.status_code == 201
    assert house.key_vault.opened == [CANARY]
    assert listed.json()["items"] == [stored.json()]
    assert (gone.status_code, after.json()["items"]) == (204, [])


async def test_only_key_vault_can_read_a_key_sent_with_a_run(house: House, mint: Mint) -> None:
    async with house.client(await mint()) as client:
        answer = await client.post("/v1/chat/completions", json=ASK, headers={"X-OpenAI-Key": CANARY})
    (run,) = house.worker.requested
    assert answer.status_code == 200
    assert CANARY not in run.model_dump_json()
    assert house.key_vault.open_request_key(run) == CANARY


async def test_credits_from_grant_to_receipt(house: House, mint: Mint) -> None:
    async with house.client(await mint("root", "admin")) as admin, house.client(await mint()) as alice:
        grant = {"user_id": "alice", "credits": "5", "idempotency_key": "k"}
        granted = await admin.post("/api/admin/credits/grants", json=grant)
        balance = await alice.get("/api/credits")
        run = await alice.post("/v1/chat/completions", json=ASK)
        run_id = run.headers["latchkey-run-id"]
        house.billing.store.attempts.append(billed(UUID(run_id)))
        receipt = await alice.get(f"/api/runs/{run_id}/receipt")
        usage = await alice.get("/api/usage")
    assert (granted.status_code, balance.json()["balance"]) == (201, "5")
    assert (receipt.json()["status"], receipt.json()["totals"]["charged"]) == ("final", "0.0015")
    assert [item["run_id"] for item in usage.json()["items"]] == [run_id]


async def test_anothers_run_and_key_are_not_found(house: House, mint: Mint) -> None:
    async with house.client(await mint()) as alice, house.client(await mint("bob")) as bob:
        run = await alice.post("/v1/chat/completions", json=ASK)
        key = await alice.post("/api/keys", json={"service": "openai", "api_key": CANARY})
        answers = [
            await bob.get(f"/api/runs/{run.headers['latchkey-run-id']}/receipt"),
            await bob.delete(f"/api/keys/{key.json()['id']}"),
        ]
    assert [answer.status_code for answer in answers] == [404, 404]
