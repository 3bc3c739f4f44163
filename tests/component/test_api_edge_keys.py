"""`/api/keys`: a key goes in sealed, its hint comes out."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.kernel.errors import InvalidRequestError, ServiceUnavailableError
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CANARY = "sk-canary-0123456789abcdef"


async def test_a_key_is_sealed_and_stored() -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post(
            "/api/keys", json={"service": "openai", "api_key": f" {CANARY}\n", "label": "work"}
        )
    (command,), ((secret, binding),) = edge.key_vault.stored, edge.sealer.sealed
    assert answer.status_code == 201
    assert answer.json() == {
        "id": str(command.credential_id),
        "service": "openai",
        "hint": "sk-…1f9c",
        "status": "active",
        "label": "work",
        "baseUrl": None,
        "base_url": None,
        "created_at": "2026-01-01T12:00:00Z",
    }
    assert secret.reveal() == CANARY
    assert (binding.purpose, binding.user_id, binding.service) == ("store", "alice", "openai")
    assert (binding.credential_id, binding.run_id) == (str(command.credential_id), None)
    assert timedelta(0) < binding.expires_at - datetime.now(UTC) <= timedelta(seconds=30)
    assert CANARY not in command.model_dump_json() + answer.text


@pytest.mark.parametrize("name", ["baseUrl", "base_url"])
async def test_a_base_url_is_bound_to_the_key(name: str) -> None:
    edge = Edge()
    body = {"service": "gateway", "api_key": CANARY, name: "https://llm.example/v1", "persist": "vault"}
    async with edge.client() as client:
        answer = await client.post("/api/keys", json=body)
    assert answer.json()["baseUrl"] == "https://llm.example/v1"
    assert edge.sealer.sealed[0][1].base_url == edge.key_vault.stored[0].base_url == "https://llm.example/v1"


async def test_keys_are_listed_and_revoked_by_their_owner_only() -> None:
    edge = Edge()
    async with edge.client() as alice, edge.client("lk_bob") as bob:
        stored = (await alice.post("/api/keys", json={"service": "groq", "api_key": CANARY})).json()
        page = (await alice.get("/api/keys")).json()
        others = (await bob.get("/api/keys")).json()
        stolen = await bob.delete(f"/api/keys/{stored['id']}")
        revoked = await alice.delete(f"/api/keys/{stored['id']}")
        again = await alice.delete(f"/api/keys/{stored['id']}")
    assert page == {"items": [stored], "next_cursor": None}
    assert others == {"items": [], "next_cursor": None}
    assert (stolen.status_code, stolen.json()["code"]) == (404, "not_found")
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "service"),
        ({"service": "openai"}, "api_key"),
        ({"service": "nobody", "api_key": CANARY}, "service"),
        ({"service": 5, "api_key": CANARY}, "service"),
        ({"service": "openai", "api_key": {"key": CANARY}}, "api_key"),
        ({"service": "openai", "api_key": ""}, "api_key"),
        ({"service": "openai", "api_key": "sk-canary two words"}, "api_key"),
        ({"service": "openai", "api_key": "lks_canary-0123456789"}, "api_key"),
        ({"service": "openai", "api_key": CANARY, "label": 7}, "label"),
        ({"service": "openai", "api_key": CANARY, "label": "x" * 201}, "label"),
        ({"service": "openai", "api_key": "sk-other-0123456789", "label": f"my key: {CANARY}"}, "label"),
        (
            {"service": "openai", "api_key": "canary.of.no.known.shape", "label": "canary.of.no.known.shape"},
            "label",
        ),
        (
            {"service": "openai", "api_key": "sk-other-0123456789", "baseUrl": f"https://x/{CANARY}"},
            "baseUrl",
        ),
        (
            {"service": "openai", "api_key": "canary.shapeless", "baseUrl": "https://canary.shapeless/"},
            "baseUrl",
        ),
        ({"service": "openai", "api_key": CANARY, "persist": "session"}, "persist"),
        ({"service": "openai", "api_key": CANARY, "persist": "disk"}, "persist"),
        ({"service": "openai", "api_key": CANARY, "baseUrl": ["https://x"]}, "baseUrl"),
    ],
)
async def test_bad_bodies_are_named_and_never_echoed(body: dict[str, object], param: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post("/api/keys", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["param"]) == (422, "invalid_request", param)
    assert "canary" not in answer.text
    assert (edge.key_vault.stored, edge.sealer.sealed) == ([], [])


async def test_without_the_sealing_key_no_key_leaves() -> None:
    edge = Edge()
    edge.sealer.has_key = False
    async with edge.client() as client:
        answer = await client.post("/api/keys", json={"service": "openai", "api_key": CANARY})
    assert (answer.status_code, answer.json()["code"]) == (503, "vault_unavailable")
    assert answer.headers["retry-after"] == "2"


async def test_what_key_vault_says_is_passed_on() -> None:
    edge = Edge()
    async with edge.client() as client:
        edge.key_vault.error = InvalidRequestError("a gateway needs a base URL", service="key_vault")
        refused = await client.post("/api/keys", json={"service": "gateway", "api_key": CANARY})
        edge.key_vault.error = ServiceUnavailableError(service="key_vault", retry_after_s=2)
        away = await client.get("/api/keys")
    assert (refused.status_code, refused.json()["detail"]) == (422, "a gateway needs a base URL")
    assert (away.status_code, away.json()["service"]) == (503, "key_vault")


async def test_an_id_that_is_none_is_not_found() -> None:
    async with Edge().client() as client:
        answer = await client.delete("/api/keys/not-an-id")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
