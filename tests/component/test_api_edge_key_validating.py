"""`POST /api/keys/validate`: a key that is entered, or the stored one; neither is kept anew."""

from typing import Any

import pytest

from shared.kernel.errors import ServiceUnavailableError
from shared.kernel.names import CredentialStatus, KeyVerdict
from tests.component.stored_keys import CANARY, NEXT, URL, stored
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component


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
