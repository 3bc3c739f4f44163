"""What administrators do about keys: the platform's pools, revoking a user, rewrapping."""

from typing import Any

import pytest

from shared.kernel.errors import ServiceUnavailableError
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CANARY = "sk-canary-0123456789abcdef"
OUT = "platform:openrouter:ba9876543210"
ROUTES: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/api/admin/platform-keys", {}),
    ("PATCH", f"/api/admin/platform-keys/{OUT}", {"state": "ready"}),
    ("POST", "/api/admin/keys/revoke", {"user_id": "alice"}),
    ("POST", "/api/admin/keys/rewrap", {"limit": 5}),
]


async def test_the_platforms_keys_are_shown_by_their_hints() -> None:
    async with Edge().client("lk_admin") as admin:
        answer = await admin.get("/api/admin/platform-keys")
    assert answer.status_code == 200
    assert answer.json()["next_cursor"] is None
    assert answer.json()["items"][1] == {
        "credential_id": OUT,
        "service": "openrouter",
        "hint": "sk-…aaaa",
        "state": "out",
        "until": None,
        "reason": "system_key_exhausted",
        "changed_at": "2026-01-01T12:00:00Z",
    }


async def test_a_platform_key_is_mended() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.patch(f"/api/admin/platform-keys/{OUT}", json={"state": "ready"})
        listed = (await admin.get("/api/admin/platform-keys")).json()["items"]
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["reason"]) == ("ready", None)
    assert listed[1] == answer.json()


@pytest.mark.parametrize("credential_id", ["platform:openai:000000000000", "nope", "x" * 200, "%00", "a%0Ab"])
async def test_an_unknown_platform_key_is_not_found(credential_id: str) -> None:
    async with Edge().client("lk_admin") as admin:
        answer = await admin.patch(f"/api/admin/platform-keys/{credential_id}", json={"state": "ready"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("body", [{}, {"state": "out"}, {"state": "cooling"}, {"state": None}, {"state": 1}])
async def test_a_platform_key_can_only_be_made_ready(body: dict[str, Any]) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.patch(f"/api/admin/platform-keys/{OUT}", json=body)
    assert (answer.status_code, answer.json()["param"]) == (422, "state")
    assert edge.administration.keys[OUT].state == "out"


@pytest.mark.parametrize(
    ("service", "gone", "left"),
    [
        ({}, ["openai", "groq"], []),
        ({"service": None}, ["openai", "groq"], []),
        ({"service": "groq"}, ["groq"], ["openai"]),
        ({"service": "xai"}, [], ["groq", "openai"]),
    ],
)
async def test_a_users_keys_are_revoked(service: dict[str, Any], gone: list[str], left: list[str]) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin, edge.client() as alice, edge.client("lk_bob") as bob:
        ids = {}
        for name in ("openai", "groq"):
            stored = await alice.post("/api/keys", json={"service": name, "api_key": f"{CANARY}{name}"})
            ids[name] = stored.json()["id"]
            await bob.post("/api/keys", json={"service": name, "api_key": f"{CANARY}{name}"})
        answer = await admin.post("/api/admin/keys/revoke", json={"user_id": "alice", **service})
        mine = (await alice.get("/api/keys")).json()["items"]
        theirs = (await bob.get("/api/keys")).json()["items"]
    assert (answer.status_code, answer.json()) == (200, {"revoked": [ids[name] for name in gone]})
    assert [item["service"] for item in mine] == sorted(left)
    assert len(theirs) == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": CANARY}, "user_id"),
        ({"user_id": "canary\n"}, "user_id"),
        ({"user_id": "alice", "service": "canary"}, "service"),
        ({"user_id": "alice", "service": ["openai"]}, "service"),
    ],
)
async def test_bad_revocations_are_named_and_never_echoed(body: dict[str, Any], param: str) -> None:
    async with Edge().client("lk_admin") as admin:
        answer = await admin.post("/api/admin/keys/revoke", json=body)
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert "canary" not in answer.text


@pytest.mark.parametrize(("content", "limit"), [(b"", 200), (b"{}", 200), (b'{"limit":1000}', 1000)])
async def test_keys_are_rewrapped_a_batch_at_a_time(content: bytes, limit: int) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.post("/api/admin/keys/rewrap", content=content)
    assert (answer.status_code, answer.json()) == (200, {"rewrapped": 2, "remaining": 7, "key_version": 3})
    assert edge.administration.rewrapped == [limit]


@pytest.mark.parametrize("limit", [0, 1001, "5", True, 1.5, None])
async def test_a_bad_batch_is_refused(limit: object) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.post("/api/admin/keys/rewrap", json={"limit": limit})
    assert (answer.status_code, answer.json()["param"]) == (422, "limit")
    assert edge.administration.rewrapped == []


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_only_administrators_may(method: str, path: str, body: dict[str, Any]) -> None:
    edge = Edge()
    async with edge.client() as alice, edge.client(None) as nobody:
        await alice.post("/api/keys", json={"service": "openai", "api_key": CANARY})
        forbidden = await alice.request(method, path, json=body)
        unknown = await nobody.request(method, path, json=body)
        left = (await alice.get("/api/keys")).json()["items"]
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "forbidden")
    assert (unknown.status_code, unknown.json()["code"]) == (401, "unauthenticated")
    assert (edge.administration.keys[OUT].state, edge.administration.rewrapped, len(left)) == ("out", [], 1)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_without_key_vault_there_is_no_answer(method: str, path: str, body: dict[str, Any]) -> None:
    edge = Edge()
    edge.administration.error = ServiceUnavailableError(service="key_vault", retry_after_s=2)
    async with edge.client("lk_admin") as admin:
        answer = await admin.request(method, path, json=body)
    assert (answer.status_code, answer.json()["service"]) == (503, "key_vault")
