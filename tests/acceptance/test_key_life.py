"""A key's whole life over HTTP, through the whole house; the simulated provider says which keys are good."""

import secrets
from typing import Any, Final

import httpx2
import pytest

from shared.kernel.names import KeyService
from tests.acceptance.callers import Caller
from tests.acceptance.house import House, eventually

pytestmark = pytest.mark.acceptance

SERVICES: Final = tuple(service for service in KeyService if service is not KeyService.GATEWAY)


def new_key(mark: str = "") -> str:
    return f"sk-{mark}life-{secrets.token_hex(10)}"


async def listed(caller: Caller) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await caller.get("/api/keys"))["items"]
    return items


async def solve(caller: Caller, **headers: str) -> httpx2.Response:
    """One run that nothing but the caller's own key may serve."""
    ask = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
    return await caller.http.post(
        "/v1/chat/completions", json=ask, headers={"Latchkey-Flow": "solver", **headers}
    )


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_says_what_a_key_is_worth(house: House, service: KeyService) -> None:
    caller = await house.caller()
    for mark, code, status in (
        ("", 201, "active"),
        ("broke-", 201, "no_quota"),
        ("bad-", 401, "invalid"),
        ("expired-", 401, "expired"),
    ):
        key = new_key(mark)
        body = {"service": service, "api_key": key}
        asked = await caller.http.post("/api/keys/validate", json=body)
        stored = await caller.http.post("/api/keys", json=body)
        told = "status" if code == 201 else "key_status"
        assert (stored.status_code, stored.json()[told]) == (code, status), mark
        assert asked.json()[told] == status.replace("active", "valid")
        assert asked.status_code == (200 if code == 201 else 401)
        assert key not in asked.text + stored.text
    assert sorted(item["status"] for item in await listed(caller)) == ["active", "no_quota"]


async def test_a_key_is_used_replaced_taken_out_and_destroyed(house: House) -> None:
    caller, first, second = await house.caller(), new_key(), new_key()
    key_id = await caller.store_key(first)
    assert (await listed(caller))[0]["last_used_at"] is None
    assert (await solve(caller)).status_code == 200

    async def is_used() -> bool:
        return (await listed(caller))[0]["last_used_at"] is not None

    await eventually(is_used, "the key was used")
    replaced = await caller.http.put(f"/api/keys/{key_id}", json={"api_key": second, "label": "new"})
    assert (replaced.status_code, replaced.json()["version"], replaced.json()["label"]) == (200, 2, "new")
    assert (await solve(caller)).status_code == 200
    assert (house.calls().with_key(first), house.calls().with_key(second)) == (1, 1)
    for status, code in (("inactive", 403), ("active", 200)):
        changed = await caller.http.patch(f"/api/keys/{key_id}", json={"status": status})
        assert changed.json()["status"] == status
        assert (await solve(caller)).status_code == code
    assert (await caller.http.delete(f"/api/keys/{key_id}")).status_code == 204
    refused = await solve(caller)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "user_api_key_required")


async def test_the_lower_position_is_tried_first(house: House) -> None:
    caller, keys = await house.caller(), [new_key(), new_key()]
    ids = [await caller.store_key(key) for key in keys]
    assert [item["id"] for item in await listed(caller)] == ids[::-1]
    await caller.http.patch(f"/api/keys/{ids[1]}", json={"position": 5})
    assert [item["id"] for item in await listed(caller)] == ids
    assert (await solve(caller)).status_code == 200
    assert [house.calls().with_key(key) for key in keys] == [1, 0]


async def test_a_stored_key_that_starts_failing_is_marked_and_said_so(house: House) -> None:
    caller = await house.caller()
    await caller.store_key(new_key("revoked-"))
    refused = await solve(caller)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "user_api_key_invalid")

    async def is_marked() -> bool:
        return [item["status"] for item in await listed(caller)] == ["invalid"]

    await eventually(is_marked, "the key is marked")
    status = await caller.get("/api/providers/status")
    (openai,) = [item for item in status["items"] if item["service"] == "openai"]
    assert (openai["key_source"], openai["user_statuses"]) == ("user", ["invalid"])
    validated = await caller.http.post("/api/keys/validate", json={"service": "openai"})
    assert (validated.status_code, validated.json()["status"]) == (200, "valid")
    assert (await listed(caller))[0]["status"] == "active"


async def test_a_session_key_serves_its_user_alone(house: House) -> None:
    caller, other, key = await house.caller(), await house.caller(), new_key()
    body = {"service": "openai", "api_key": key, "persist": "session"}
    issued = (await caller.http.post("/api/keys", json=body)).raise_for_status().json()
    token = issued["session_key"]
    assert key not in str(issued)
    assert await listed(caller) == []
    served = await solve(caller, **{"X-OpenAI-Key": token})
    assert (served.status_code, served.headers["latchkey-key-source"]) == (200, "session")
    assert house.calls().with_key(key) == 1
    stolen = await solve(other, **{"X-OpenAI-Key": token})
    changed = token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:]
    tampered = await solve(caller, **{"X-OpenAI-Key": changed})
    for refused, detail in ((stolen, "session_key_of_another_user"), (tampered, "session_key_tampered")):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (403, "user_api_key_invalid")
        assert error["detail"] == detail
    assert house.calls().with_key(key) == 1


async def test_a_bad_key_gets_no_session(house: House) -> None:
    caller = await house.caller()
    body = {"service": "openai", "api_key": new_key("bad-"), "persist": "session"}
    refused = await caller.http.post("/api/keys", json=body)
    assert (refused.status_code, refused.json()["key_status"]) == (401, "invalid")


async def test_consent_changes_whose_key_is_next(house: House) -> None:
    caller = await house.caller()
    before = await caller.get("/api/user-settings")
    assert (before["allowPlatformFallback"], before["allowGatewayFallback"]) == (True, False)
    assert (await caller.get("/api/providers/status"))["items"][0]["key_source"] == "server"
    decided = await caller.http.post("/api/user-settings", json={"allowPlatformFallback": False})
    assert decided.json()["consent_id"] not in {"default", before["consent_id"]}
    assert decided.json()["decided_at"] is not None
    assert await caller.get("/api/user-settings") == decided.json()
    assert (await caller.get("/api/providers/status"))["items"][0]["key_source"] == "none"
    refused = await caller.ask("Hi")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "consent_required")


async def test_what_administrators_do_about_keys(house: House) -> None:
    admin, caller = await house.caller("admin", "admin"), await house.caller()
    ids = {await caller.store_key(new_key()), await caller.store_key(new_key(), service="groq")}
    platform = (await admin.get("/api/admin/platform-keys"))["items"]
    assert "ready" in {item["state"] for item in platform if item["service"] == "openai"}
    rewrapped = await admin.http.post("/api/admin/keys/rewrap", json={"limit": 1})
    assert set(rewrapped.json()) == {"rewrapped", "remaining", "key_version"}
    revoked = await admin.http.post("/api/admin/keys/revoke", json={"user_id": caller.user_id})
    assert set(revoked.json()["revoked"]) == ids
    assert await listed(caller) == []
    assert (await solve(caller)).json()["error"]["code"] == "user_api_key_required"
