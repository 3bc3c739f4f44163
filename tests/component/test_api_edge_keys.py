"""`/api/keys`: a key goes in sealed, its hint comes out."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.kernel.errors import BusUnavailableError, InvalidRequestError, ServiceUnavailableError
from shared.kernel.names import KeyVerdict
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CANARY = "sk-canary-0123456789abcdef"


async def test_a_key_is_sealed_and_stored() -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post(
            "/api/keys", json={"service": "openai", "api_key": f" {CANARY}\n", "label": "work"}
        )
    (command,), (_, (secret, binding)) = edge.key_vault.stored, edge.sealer.sealed
    assert answer.status_code == 201
    assert answer.json() == {
        "id": str(command.credential_id),
        "service": "openai",
        "hint": "sk-…1f9c",
        "status": "active",
        "label": "work",
        "baseUrl": None,
        "base_url": None,
        "position": 0,
        "version": 1,
        "created_at": "2026-01-01T12:00:00Z",
        "updated_at": "2026-01-01T12:00:00Z",
        "last_used_at": None,
        "status_changed_at": None,
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
    assert edge.sealer.sealed[1][1].base_url == edge.key_vault.stored[0].base_url == "https://llm.example/v1"


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
        ({"service": "openai", "api_key": "lks_canary-0123456789", "persist": "session"}, "api_key"),
        ({"service": "openai", "persist": "session"}, "api_key"),
        ({"service": "openai", "api_key": CANARY, "persist": "disk"}, "persist"),
        ({"service": "openai", "api_key": CANARY, "baseUrl": ["https://x"]}, "baseUrl"),
        ({"service": "openai", "api_key": CANARY, "label": "canary\n"}, "label"),
        ({"service": "openai", "api_key": CANARY, "position": -1}, "position"),
        ({"service": "openai", "api_key": CANARY, "position": True}, "position"),
        ({"service": "openai", "api_key": CANARY, "position": "1"}, "position"),
        ({"service": "openai", "api_key": CANARY, "position": 10**6 + 1}, "position"),
        ({"service": "gateway", "api_key": CANARY}, "baseUrl"),
        ({"service": "gateway", "api_key": CANARY, "baseUrl": ""}, "baseUrl"),
        ({"service": "gateway", "api_key": CANARY, "persist": "session"}, "baseUrl"),
    ],
)
async def test_bad_bodies_are_named_and_never_echoed(body: dict[str, object], param: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post("/api/keys", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["param"]) == (422, "invalid_request", param)
    assert "canary" not in answer.text
    assert (edge.key_vault.stored, edge.sealer.sealed, edge.validator.asked) == ([], [], [])


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
        edge.key_vault.error = InvalidRequestError("the base URL must be https", service="key_vault")
        refused = await client.post("/api/keys", json={"service": "openai", "api_key": CANARY})
        edge.key_vault.error = ServiceUnavailableError(service="key_vault", retry_after_s=2)
        away = await client.get("/api/keys")
    assert (refused.status_code, refused.json()["detail"]) == (422, "the base URL must be https")
    assert (away.status_code, away.json()["service"]) == (503, "key_vault")


@pytest.mark.parametrize(
    ("method", "body"), [("DELETE", {}), ("PUT", {"api_key": CANARY}), ("PATCH", {"label": "mine"})]
)
async def test_an_id_that_is_none_is_not_found(method: str, body: dict[str, str]) -> None:
    async with Edge().client() as client:
        answer = await client.request(method, "/api/keys/not-an-id", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_key_is_asked_about_before_it_is_kept() -> None:
    edge = Edge()
    body = {"service": "gateway", "api_key": CANARY, "baseUrl": "https://llm.example/v1"}
    async with edge.client() as client:
        await client.post("/api/keys", json=body)
    (asked,), ((secret, binding), _) = edge.validator.asked, edge.sealer.sealed
    assert (asked.user_id, asked.service, asked.base_url) == ("alice", "gateway", "https://llm.example/v1")
    assert asked.credential_id is None
    assert secret.reveal() == CANARY
    assert (binding.purpose, binding.user_id, binding.service) == ("validate", "alice", "gateway")
    assert (binding.run_id, binding.base_url) == (asked.validation_id, asked.base_url)
    assert CANARY not in asked.model_dump_json()


@pytest.mark.parametrize("persist", ["vault", "session"])
@pytest.mark.parametrize("verdict", [KeyVerdict.INVALID, KeyVerdict.EXPIRED])
async def test_a_bad_key_is_refused_by_name_and_not_kept(persist: str, verdict: KeyVerdict) -> None:
    edge = Edge()
    edge.validator.verdict = verdict
    async with edge.client() as client:
        body = {"service": "groq", "api_key": CANARY, "persist": persist}
        answer = await client.post("/api/keys", json=body)
    problem = answer.json()
    assert answer.status_code == 401
    assert (problem["status"], problem["code"], problem["key_status"], problem["service"]) == (
        401,
        "user_api_key_invalid",
        verdict.value,
        "groq",
    )
    assert problem["settings_url"] == "https://app.example/settings"
    assert "canary" not in answer.text
    assert (edge.key_vault.stored, edge.key_vault.sessions) == ([], [])


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (KeyVerdict.VALID, "active"),
        (KeyVerdict.NO_QUOTA, "no_quota"),
        (KeyVerdict.UNREACHABLE, "unreachable"),
    ],
)
async def test_a_key_that_may_be_good_is_kept_with_its_status(verdict: KeyVerdict, status: str) -> None:
    edge = Edge()
    edge.validator.verdict = verdict
    async with edge.client() as client:
        answer = await client.post("/api/keys", json={"service": "groq", "api_key": CANARY})
    assert (answer.status_code, answer.json()["status"]) == (201, status)
    assert edge.key_vault.stored[0].status == status


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (ServiceUnavailableError(service="inference", retry_after_s=2), "inference"),
        (BusUnavailableError(service="rabbitmq", retry_after_s=2), "rabbitmq"),
    ],
)
@pytest.mark.parametrize("persist", ["vault", "session"])
async def test_what_cannot_be_asked_about_is_not_kept(
    persist: str, error: ServiceUnavailableError | BusUnavailableError, part: str
) -> None:
    edge = Edge()
    edge.validator.error = error
    async with edge.client() as client:
        body = {"service": "openai", "api_key": CANARY, "persist": persist}
        answer = await client.post("/api/keys", json=body)
    assert (answer.status_code, answer.json()["service"]) == (503, part)
    assert answer.headers["retry-after"] == "2"
    assert (edge.key_vault.stored, edge.key_vault.sessions) == ([], [])


async def test_an_address_that_may_not_be_called_is_a_mistake_of_the_callers() -> None:
    edge = Edge()
    edge.validator.error = InvalidRequestError("this address may not be called", service="inference")
    async with edge.client() as client:
        body = {"service": "openai", "api_key": CANARY, "baseUrl": "https://10.0.0.1/v1"}
        answer = await client.post("/api/keys", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (422, "this address may not be called")
    assert edge.key_vault.stored == []


async def test_keys_are_listed_in_the_order_they_are_tried() -> None:
    edge = Edge()
    async with edge.client() as client:
        for number, position in enumerate((5, 0, 1)):
            body = {"service": "openai", "api_key": f"{CANARY}{number}", "position": position}
            assert (await client.post("/api/keys", json=body)).json()["position"] == position
        listed = (await client.get("/api/keys")).json()["items"]
    assert [item["position"] for item in listed] == [0, 1, 5]


async def test_a_key_entered_again_is_the_one_there_already_as_it_is_wanted_now() -> None:
    edge = Edge()
    async with edge.client() as client:
        body = {"service": "openai", "api_key": CANARY, "label": "old"}
        first = (await client.post("/api/keys", json=body)).json()
        await client.patch(f"/api/keys/{first['id']}", json={"status": "inactive"})
        again = await client.post("/api/keys", json={**body, "label": "new", "position": 3})
        listed = (await client.get("/api/keys")).json()["items"]
    assert again.status_code == 201
    assert (again.json()["id"], again.json()["status"]) == (first["id"], "active")
    assert (again.json()["label"], again.json()["position"]) == ("new", 3)
    assert listed == [again.json()]
