"""`/api/keys` after the first day: replacing, labelling, ordering, taking out; session keys."""

from typing import Any

import pytest

from shared.kernel.errors import ServiceUnavailableError, VaultUnavailableError
from shared.kernel.names import KeyVerdict
from tests.component.stored_keys import CANARY, NEXT, URL, stored
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component


async def test_a_key_is_replaced_after_it_was_asked_about() -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client, service="gateway", baseUrl=URL, label="work", position=2)
        answer = await client.put(f"/api/keys/{before['id']}", json={"api_key": f" {NEXT} "})
        listed = (await client.get("/api/keys")).json()["items"]
    (command,), asked = edge.key_vault.replaced, edge.validator.asked[1]
    (checked, validating), (secret, storing) = edge.sealer.sealed[2:]
    assert answer.status_code == 200
    assert answer.json() == {**before, "version": 2, "updated_at": "2026-01-01T13:00:00Z"}
    assert listed == [answer.json()]
    assert checked.reveal() == secret.reveal() == NEXT
    assert (validating.purpose, validating.run_id) == ("validate", asked.validation_id)
    assert (storing.purpose, storing.credential_id, storing.service) == ("store", before["id"], "gateway")
    assert storing.base_url == validating.base_url == command.base_url == asked.base_url == URL
    assert NEXT not in command.model_dump_json() + asked.model_dump_json() + answer.text


@pytest.mark.parametrize(
    ("body", "base_url", "label"),
    [
        ({}, URL, "work"),
        ({"baseUrl": "https://other.example/v1"}, "https://other.example/v1", "work"),
        ({"base_url": "https://other.example/v1", "label": "home"}, "https://other.example/v1", "home"),
        ({"baseUrl": None, "label": None}, None, None),
        ({"baseUrl": "", "label": ""}, None, None),
    ],
)
async def test_what_a_replacement_does_not_say_stays(
    body: dict[str, Any], base_url: str | None, label: str | None
) -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client, baseUrl=URL, label="work")
        answer = await client.put(f"/api/keys/{before['id']}", json={"api_key": NEXT, **body})
    assert answer.status_code == 200
    assert (answer.json()["baseUrl"], answer.json()["label"]) == (base_url, label)
    assert edge.sealer.sealed[-1][1].base_url == base_url


@pytest.mark.parametrize("body", [{"baseUrl": None}, {"baseUrl": ""}])
async def test_a_gateway_keeps_an_address(body: dict[str, Any]) -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client, service="gateway", baseUrl=URL)
        answer = await client.put(f"/api/keys/{before['id']}", json={"api_key": NEXT, **body})
    assert (answer.status_code, answer.json()["param"]) == (422, "baseUrl")
    assert edge.key_vault.replaced == []


@pytest.mark.parametrize(
    ("kept", "field"),
    [({"label": "of odd-key-12345"}, "label"), ({"baseUrl": f"{URL}/odd-key-12345"}, "baseUrl")],
)
async def test_a_key_replaces_none_whose_label_or_address_shows_it(kept: dict[str, str], field: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client, **kept)
        answer = await client.put(f"/api/keys/{before['id']}", json={"api_key": "odd-key-12345"})
        other = await client.put(f"/api/keys/{before['id']}", json={"api_key": "odd-key-12345", field: None})
    assert (answer.status_code, answer.json()["param"]) == (422, field)
    assert other.status_code == 200


@pytest.mark.parametrize("verdict", [KeyVerdict.INVALID, KeyVerdict.EXPIRED])
async def test_a_bad_key_replaces_nothing(verdict: KeyVerdict) -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client)
        edge.validator.verdict = verdict
        answer = await client.put(f"/api/keys/{before['id']}", json={"api_key": NEXT, "label": "new"})
        listed = (await client.get("/api/keys")).json()["items"]
    assert (answer.status_code, answer.json()["code"]) == (401, "user_api_key_invalid")
    assert answer.json()["key_status"] == verdict.value
    assert listed == [before]


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (KeyVerdict.VALID, "active"),
        (KeyVerdict.NO_QUOTA, "no_quota"),
        (KeyVerdict.UNREACHABLE, "unreachable"),
    ],
)
async def test_a_replaced_key_has_its_own_status(verdict: KeyVerdict, status: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client)
        edge.validator.verdict = verdict
        answer = await client.put(f"/api/keys/{before['id']}", json={"api_key": NEXT})
    assert (answer.status_code, answer.json()["status"]) == (200, status)


@pytest.mark.parametrize("decided", ["active", "inactive"])
async def test_what_its_owner_decides_while_a_replacement_is_asked_about_stands(decided: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        at = f"/api/keys/{(await stored(client))['id']}"
        if decided == "active":
            await client.patch(at, json={"status": "inactive"})
        edge.validator.meanwhile = lambda: client.patch(at, json={"status": decided})
        answer = await client.put(at, json={"api_key": NEXT})
    assert (answer.json()["status"], answer.json()["version"]) == (decided, 2)


async def test_a_key_taken_out_stays_out_when_it_is_replaced() -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client)
        await client.patch(f"/api/keys/{before['id']}", json={"status": "inactive"})
        answer = await client.put(f"/api/keys/{before['id']}", json={"api_key": NEXT})
    assert (answer.json()["status"], answer.json()["version"]) == ("inactive", 2)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"label": "home"}, {"label": "home"}),
        ({"label": ""}, {"label": None}),
        ({"label": None}, {"label": None}),
        ({"position": 7}, {"position": 7}),
        ({"status": "inactive"}, {"status": "inactive", "status_changed_at": "2026-01-01T13:00:00Z"}),
        ({"label": "home", "position": 1, "unknown": 1}, {"label": "home", "position": 1}),
    ],
)
async def test_a_key_is_changed(change: dict[str, Any], shown: dict[str, Any]) -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client, label="work")
        answer = await client.patch(f"/api/keys/{before['id']}", json=change)
        listed = (await client.get("/api/keys")).json()["items"]
    assert answer.status_code == 200
    assert answer.json() == {**before, "updated_at": "2026-01-01T13:00:00Z", **shown}
    assert listed == [answer.json()]
    assert len(edge.validator.asked) == 1  # when it was stored


async def test_a_key_taken_out_is_put_back() -> None:
    async with Edge().client() as client:
        before = await stored(client)
        for status in ("inactive", "active"):
            answer = await client.patch(f"/api/keys/{before['id']}", json={"status": status})
            assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("method", "body", "param"),
    [
        ("PATCH", {}, "label, position, status"),
        ("PATCH", {"api_key": CANARY}, "label, position, status"),
        ("PATCH", {"status": None, "position": None}, "label, position, status"),
        ("PATCH", {"status": "invalid"}, "status"),
        ("PATCH", {"status": True}, "status"),
        ("PATCH", {"label": f"mine: {CANARY}"}, "label"),
        ("PATCH", {"label": "x" * 201}, "label"),
        ("PATCH", {"label": "canary\x00"}, "label"),
        ("PATCH", {"position": 1.5}, "position"),
        ("PATCH", {"position": False}, "position"),
        ("PATCH", {"position": -1}, "position"),
        ("PUT", {}, "api_key"),
        ("PUT", {"api_key": ""}, "api_key"),
        ("PUT", {"api_key": "lks_canary-0123456789"}, "api_key"),
        ("PUT", {"api_key": "canary.shapeless", "label": "canary.shapeless"}, "label"),
        ("PUT", {"api_key": "canary.shapeless", "baseUrl": "https://canary.shapeless/"}, "baseUrl"),
        ("PUT", {"api_key": NEXT, "baseUrl": 7}, "baseUrl"),
    ],
)
async def test_bad_changes_are_named_and_never_echoed(method: str, body: dict[str, Any], param: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client)
        answer = await client.request(method, f"/api/keys/{before['id']}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["param"] == param
    assert "canary" not in answer.text
    assert (edge.key_vault.replaced, edge.key_vault.updated) == ([], [])


async def test_anothers_key_is_not_found_and_nobody_is_asked_about_it() -> None:
    edge = Edge()
    changes = {"PUT": {"api_key": NEXT}, "PATCH": {"status": "inactive"}, "DELETE": {}}
    async with edge.client() as alice, edge.client("lk_bob") as bob, edge.client("lk_admin") as admin:
        before = await stored(alice)
        answers = [
            await other.request(method, f"/api/keys/{before['id']}", json=body)
            for other in (bob, admin)
            for method, body in changes.items()
        ]
        listed = (await alice.get("/api/keys")).json()["items"]
    assert [answer.status_code for answer in answers] == [404] * 6
    assert listed == [before]
    assert len(edge.validator.asked) == 1


@pytest.mark.parametrize("part", ["key_vault", "validator", "sealer"])
async def test_without_a_part_nothing_is_replaced(part: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        before = await stored(client)
        match part:
            case "key_vault":
                edge.key_vault.error = VaultUnavailableError(service="vault", retry_after_s=2)
            case "validator":
                edge.validator.error = ServiceUnavailableError(service="inference", retry_after_s=2)
            case _:
                edge.sealer.has_key = False
        answer = await client.put(f"/api/keys/{before['id']}", json={"api_key": NEXT})
    assert answer.status_code == 503
    assert answer.json()["service"] == {"validator": "inference"}.get(part, "vault")
    assert edge.key_vault.replaced == []


@pytest.mark.parametrize("verdict", [KeyVerdict.VALID, KeyVerdict.NO_QUOTA, KeyVerdict.UNREACHABLE])
async def test_a_session_key_is_handed_back_and_nothing_stored(verdict: KeyVerdict) -> None:
    edge = Edge()
    edge.validator.verdict = verdict
    async with edge.client() as client:
        body = {"service": "gateway", "api_key": CANARY, "persist": "session", "baseUrl": URL, "label": "x"}
        answer = await client.post("/api/keys", json={**body, "position": 4})
        listed = (await client.get("/api/keys")).json()["items"]
    (_, (secret, binding)), (command,) = edge.sealer.sealed, edge.key_vault.sessions
    assert answer.status_code == 201
    assert answer.json() == {
        "session_key": "lks_0123456789abcdef",
        "service": "gateway",
        "hint": "sk-…1f9c",
        "status": verdict.status.value,
        "baseUrl": URL,
        "base_url": URL,
        "expires_at": "2026-01-01T13:00:00Z",
    }
    assert secret.reveal() == CANARY
    assert (binding.purpose, binding.user_id, binding.service) == ("session", "alice", "gateway")
    assert (binding.base_url, binding.run_id, binding.credential_id) == (URL, None, None)
    assert (command.user_id, command.service, command.base_url) == ("alice", "gateway", URL)
    assert CANARY not in command.model_dump_json() + answer.text
    assert (edge.key_vault.stored, listed) == ([], [])
