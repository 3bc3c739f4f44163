"""`/api/keys` after the first day: replacing, labelling, ordering, taking out, validating; session keys."""

from typing import Any

import httpx2
import pytest

from shared.kernel.errors import ServiceUnavailableError, VaultUnavailableError
from shared.kernel.names import CredentialStatus, KeyVerdict
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CANARY = "sk-canary-0123456789abcdef"
NEXT = "sk-canary-next-0123456789"
URL = "https://llm.example/v1"


async def stored(client: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/api/keys", json={"service": "openai", "api_key": CANARY, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


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
async def test_an_entered_key_is_validated_and_not_kept(verdict: KeyVerdict) -> None:
    edge = Edge()
    edge.validator.verdict = verdict
    async with edge.client() as client:
        body = {"service": "gateway", "api_key": f"\t{CANARY}\n", "baseUrl": URL}
        answer = await client.post("/api/keys/validate", json=body)
    ((secret, binding),), (asked,) = edge.sealer.sealed, edge.validator.asked
    assert (answer.status_code, answer.json()) == (200, {"status": verdict.value})
    assert secret.reveal() == CANARY
    assert (binding.purpose, binding.run_id, binding.base_url) == ("validate", asked.validation_id, URL)
    assert edge.key_vault.stored == []


@pytest.mark.parametrize(
    ("language", "verdict", "message"),
    [
        ("en", KeyVerdict.EXPIRED, "The provider says that this API key has expired. Enter a new one."),
        (
            "it",
            KeyVerdict.EXPIRED,
            "Il fornitore dice che questa chiave API è scaduta. Inseriscine una nuova.",
        ),
        ("en", KeyVerdict.INVALID, "The provider did not accept your API key."),
        ("it", KeyVerdict.INVALID, "Il fornitore non ha accettato la tua chiave API."),
    ],
)
async def test_a_bad_key_is_told_in_the_readers_language(
    language: str, verdict: KeyVerdict, message: str
) -> None:
    edge = Edge()
    edge.validator.verdict = verdict
    async with edge.client(headers={"accept-language": language}) as client:
        answer = await client.post("/api/keys/validate", json={"service": "xai", "api_key": CANARY})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (401, "user_api_key_invalid")
    assert problem["key_status"] == verdict.value
    assert problem["message"].startswith(message)
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "service"),
        ({"service": "nobody"}, "service"),
        ({"service": "openai", "api_key": ""}, "api_key"),
        ({"service": "openai", "api_key": "sk-canary two"}, "api_key"),
        ({"service": "openai", "api_key": "lks_canary-0123456789"}, "api_key"),
        ({"service": "openai", "api_key": ["sk-canary"]}, "api_key"),
        ({"service": "gateway", "api_key": CANARY}, "baseUrl"),
        ({"service": "gateway", "api_key": CANARY, "baseUrl": f"https://x/{CANARY}"}, "baseUrl"),
    ],
)
async def test_bad_validations_are_named_and_never_echoed(body: dict[str, Any], param: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post("/api/keys/validate", json=body)
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert "canary" not in answer.text
    assert edge.validator.asked == []


async def test_the_first_of_the_stored_keys_is_validated() -> None:
    edge = Edge()
    async with edge.client() as client:
        await stored(client, service="groq", api_key=f"{CANARY}1")
        await stored(client, api_key=f"{CANARY}2", position=1)
        out = await stored(client, api_key=f"{CANARY}3")
        first = await stored(client, api_key=f"{CANARY}4", baseUrl=URL)
        await stored(client, api_key=f"{CANARY}5", position=2, baseUrl="https://other.example/v1")
        await client.patch(f"/api/keys/{out['id']}", json={"status": "inactive", "position": 0})
        answer = await client.post("/api/keys/validate", json={"service": "openai"})
        other = await client.post(
            "/api/keys/validate", json={"service": "openai", "baseUrl": "https://other.example/v1"}
        )
        listed = (await client.get("/api/keys")).json()["items"]
    asked = edge.validator.asked[-2]
    assert answer.json() == {"status": "valid", "id": first["id"]}
    assert (str(asked.credential_id), asked.sealed, asked.base_url) == (first["id"], None, None)
    assert other.json()["id"] == str(edge.validator.asked[-1].credential_id) == listed[-1]["id"]


@pytest.mark.parametrize(
    ("before", "verdict", "after", "status"),
    [
        (CredentialStatus.ACTIVE, KeyVerdict.VALID, CredentialStatus.ACTIVE, 200),
        (CredentialStatus.INVALID, KeyVerdict.VALID, CredentialStatus.ACTIVE, 200),
        (CredentialStatus.ACTIVE, KeyVerdict.NO_QUOTA, CredentialStatus.NO_QUOTA, 200),
        (CredentialStatus.ACTIVE, KeyVerdict.INVALID, CredentialStatus.INVALID, 401),
        (CredentialStatus.NO_QUOTA, KeyVerdict.EXPIRED, CredentialStatus.EXPIRED, 401),
        (CredentialStatus.ACTIVE, KeyVerdict.UNREACHABLE, CredentialStatus.ACTIVE, 200),
        (CredentialStatus.INVALID, KeyVerdict.UNREACHABLE, CredentialStatus.INVALID, 200),
    ],
)
async def test_a_stored_keys_status_follows_its_provider(
    before: CredentialStatus, verdict: KeyVerdict, after: CredentialStatus, status: int
) -> None:
    edge = Edge()
    async with edge.client() as client:
        await stored(client)
        edge.key_vault.mark(before)
        edge.validator.verdict = verdict
        answer = await client.post("/api/keys/validate", json={"service": "openai"})
        (listed,) = (await client.get("/api/keys")).json()["items"]
    told = "status" if status == 200 else "key_status"
    assert (answer.status_code, answer.json()[told]) == (status, verdict.value)
    assert listed["status"] == after
    assert len(edge.key_vault.updated) == (before is not after)


@pytest.mark.parametrize(
    ("method", "body", "after"),
    [("PATCH", {"status": "inactive"}, "inactive"), ("PUT", {"api_key": NEXT}, "active")],
)
@pytest.mark.parametrize("verdict", [KeyVerdict.VALID, KeyVerdict.NO_QUOTA])
async def test_a_verdict_undoes_nothing_that_its_owner_did_meanwhile(
    method: str, body: dict[str, str], after: str, verdict: KeyVerdict
) -> None:
    """Taken out, it is not put back; replaced, the verdict was of the key before."""
    edge = Edge()
    async with edge.client() as client:
        key = await stored(client)
        edge.key_vault.mark(CredentialStatus.INVALID)

        async def change() -> None:
            edge.validator.meanwhile, edge.validator.verdict = None, KeyVerdict.VALID
            await client.request(method, f"/api/keys/{key['id']}", json=body)
            edge.validator.verdict = verdict

        edge.validator.meanwhile = change
        answer = await client.post("/api/keys/validate", json={"service": "openai"})
        (listed,) = (await client.get("/api/keys")).json()["items"]
    assert answer.json()["status"] == verdict
    assert listed["status"] == after


async def test_without_a_stored_key_there_is_nothing_to_validate() -> None:
    edge = Edge()
    async with edge.client() as client, edge.client("lk_bob") as bob:
        mine = await stored(client)
        await stored(bob, service="groq")
        await client.patch(f"/api/keys/{mine['id']}", json={"status": "inactive"})
        asked = len(edge.validator.asked)
        answers = [
            await client.post("/api/keys/validate", json={"service": service})
            for service in ("openai", "groq", "gateway")
        ]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "user_api_key_required")] * 3
    assert len(edge.validator.asked) == asked


@pytest.mark.parametrize("body", [{"service": "openai"}, {"service": "openai", "api_key": CANARY}])
async def test_without_the_inference_service_nothing_is_known(body: dict[str, str]) -> None:
    edge = Edge()
    async with edge.client() as client:
        await stored(client)
        edge.validator.error = ServiceUnavailableError(service="inference", retry_after_s=2)
        answer = await client.post("/api/keys/validate", json=body)
    assert (answer.status_code, answer.json()["service"]) == (503, "inference")
    assert edge.key_vault.updated == []


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
