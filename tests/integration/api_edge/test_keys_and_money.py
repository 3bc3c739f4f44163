"""Keys are sealed with the key that Vault holds; money is asked of billing; ids of others are not found."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from shared.kernel.names import KeyService, KeyVerdict
from tests.fakes.api_edge_billing import billed
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
    assert house.key_vault.opened == house.validator.seen == [CANARY]
    assert listed.json()["items"] == [stored.json()]
    assert (gone.status_code, after.json()["items"]) == (204, [])


async def test_only_key_vault_can_read_what_replaces_a_key_or_lasts_a_session(
    house: House, mint: Mint
) -> None:
    body = {"service": "gateway", "api_key": CANARY, "baseUrl": "https://llm.example/v1"}
    async with house.client(await mint()) as client:
        stored = (await client.post("/api/keys", json=body)).json()
        replaced = await client.put(f"/api/keys/{stored['id']}", json={"api_key": f"{CANARY}-2"})
        changed = await client.patch(f"/api/keys/{stored['id']}", json={"label": "work", "position": 3})
        session = await client.post("/api/keys", json={**body, "persist": "session"})
        listed = (await client.get("/api/keys")).json()["items"]
    assert (replaced.status_code, replaced.json()["version"]) == (200, 2)
    assert (session.status_code, session.json()["session_key"]) == (201, "lks_0123456789abcdef")
    assert listed == [changed.json()]
    assert (changed.json()["label"], changed.json()["position"]) == ("work", 3)
    assert house.key_vault.opened == house.validator.seen == [CANARY, f"{CANARY}-2", CANARY]


async def test_a_key_is_validated_by_inference_alone(house: House, mint: Mint) -> None:
    async with house.client(await mint()) as client:
        entered = await client.post("/api/keys/validate", json={"service": "openai", "api_key": CANARY})
        none = await client.post("/api/keys/validate", json={"service": "openai"})
        await client.post("/api/keys", json={"service": "openai", "api_key": CANARY})
        house.validator.asked.verdict = KeyVerdict.EXPIRED
        expired = await client.post("/api/keys/validate", json={"service": "openai"})
        (listed,) = (await client.get("/api/keys")).json()["items"]
    assert (entered.status_code, entered.json()) == (200, {"status": "valid"})
    assert (none.status_code, none.json()["code"]) == (403, "user_api_key_required")
    assert (expired.status_code, expired.json()["key_status"]) == (401, "expired")
    assert listed["status"] == "expired"
    assert house.validator.seen == [CANARY, CANARY]
    assert str(house.validator.asked.asked[-1].credential_id) == listed["id"]


async def test_nothing_is_kept_of_a_key_that_nobody_asks_about_in_time(house: House, mint: Mint) -> None:
    house.validator.is_silent = True
    async with house.client(await mint()) as client:
        refused = await client.post("/api/keys", json={"service": "openai", "api_key": CANARY})
        house.validator.is_silent = False
        kept = await client.post("/api/keys", json={"service": "openai", "api_key": CANARY})
    assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
    assert refused.json()["service"] == "inference"
    assert kept.status_code == 201
    assert len(house.key_vault.store.stored) == 1


async def test_consent_and_status(house: House, mint: Mint) -> None:
    house.key_vault.store.platform_services = (KeyService.OPENROUTER,)
    async with house.client(await mint()) as client:
        before = (await client.get("/openrouter/status")).json()
        decided = await client.post("/api/user-settings", json={"allowPlatformFallback": False})
        kept = await client.get("/api/user-settings")
        after = (await client.get("/openrouter/status")).json()
        everything = (await client.get("/api/providers/status")).json()
    assert (before["key_source"], after["key_source"]) == ("server", "none")
    assert decided.json() == kept.json()
    assert everything["allowPlatformFallback"] is False
    assert len(everything["items"]) == len(KeyService)


async def test_what_administrators_do_about_keys(house: House, mint: Mint) -> None:
    out = "platform:openrouter:ba9876543210"
    async with house.client(await mint("root", "admin")) as admin, house.client(await mint()) as alice:
        stored = (await alice.post("/api/keys", json={"service": "openai", "api_key": CANARY})).json()
        mended = await admin.patch(f"/api/admin/platform-keys/{out}", json={"state": "ready"})
        listed = (await admin.get("/api/admin/platform-keys")).json()["items"]
        rewrapped = await admin.post("/api/admin/keys/rewrap")
        revoked = await admin.post("/api/admin/keys/revoke", json={"user_id": "alice"})
        unknown = await admin.patch("/api/admin/platform-keys/nope", json={"state": "ready"})
        left = (await alice.get("/api/keys")).json()["items"]
    assert (mended.status_code, mended.json()["state"]) == (200, "ready")
    assert listed[1] == mended.json()
    assert rewrapped.json() == {"rewrapped": 2, "remaining": 7, "key_version": 3}
    assert revoked.json() == {"revoked": [stored["id"]]}
    assert (unknown.status_code, left) == (404, [])


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
        told = await alice.post("/api/user/deduct-credits", json={"run_id": run_id})
        feature = {"feature": "export", "credits": "1", "idempotency_key": "k"}
        charged = await alice.post("/api/user/deduct-credits", json=feature)
        adjustment = {**grant, "credits": "-0.5", "reason": "a test"}
        await admin.post("/api/admin/credits/adjustments", json=adjustment)
        statement = await alice.get("/api/credits/statement")
    assert (granted.status_code, balance.json()["balance"]) == (201, "5")
    assert (receipt.json()["status"], receipt.json()["totals"]["charged"]) == ("final", "0.0015")
    assert [item["run_id"] for item in usage.json()["items"]] == [run_id]
    assert (told.json()["bypassed"], told.json()["charged"]) == (False, "0.0015")
    assert (charged.status_code, charged.json()["charged"]) == (200, "1")
    assert [entry["amount"] for entry in statement.json()["items"]] == ["-0.5", "-1", "5"]


async def test_anothers_run_and_key_are_not_found(house: House, mint: Mint) -> None:
    async with house.client(await mint()) as alice, house.client(await mint("bob")) as bob:
        run = await alice.post("/v1/chat/completions", json=ASK)
        key = await alice.post("/api/keys", json={"service": "openai", "api_key": CANARY})
        answers = [
            await bob.get(f"/api/runs/{run.headers['latchkey-run-id']}/receipt"),
            await bob.delete(f"/api/keys/{key.json()['id']}"),
        ]
    assert [answer.status_code for answer in answers] == [404, 404]
