"""Bad input gets the errors of the contract: never a 500, never an echoed key."""

import secrets
from typing import Any, Final
from uuid import uuid4

import httpx2
import pytest

from tests.acceptance.callers import MODEL, Caller, error_of
from tests.acceptance.house import House
from tests.loopback import http_client

pytestmark = pytest.mark.acceptance

CHAT: Final = "/v1/chat/completions"
HELLO: Final = [{"role": "user", "content": "hello"}]
MIB: Final = 1024 * 1024

BAD_CHATS: Final[dict[str, tuple[bytes | Any, int]]] = {
    "nothing": (b"", 400),
    "broken JSON": (b'{"model": "openai/gpt-4o-mini", "messages": [', 400),
    "not JSON": (b"\x00\xff\xfe", 400),
    "a list": ([1, 2, 3], 400),
    "nested without end": (b'{"messages":' + b"[" * 100_000, 400),
    "a huge number": (b'{"model": "openai/gpt-4o-mini", "messages": 1' + b"0" * 5000 + b"}", 400),
    "a lone surrogate": (b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}', 400),
    "no messages": ({"model": MODEL}, 400),
    "empty messages": ({"model": MODEL, "messages": []}, 400),
    "messages of the wrong type": ({"model": MODEL, "messages": "hello"}, 400),
    "model of the wrong type": ({"model": 7, "messages": HELLO}, 400),
    "stream of the wrong type": ({"model": MODEL, "messages": HELLO, "stream": "yes"}, 400),
    "an unknown model": ({"model": "gpt-none", "messages": HELLO}, 400),
    "an unknown provider": ({"model": "nobody/gpt", "messages": HELLO}, 400),
    "negative max_tokens": ({"model": MODEL, "messages": HELLO, "max_tokens": -1}, 400),
}


async def post(caller: Caller, path: str, body: bytes | Any, **headers: str) -> httpx2.Response:
    if isinstance(body, bytes):
        headers["content-type"] = "application/json"
        return await caller.http.post(path, content=body, headers=headers)
    return await caller.http.post(path, json=body, headers=headers)


@pytest.mark.parametrize("case", BAD_CHATS)
async def test_bad_chats(house: House, case: str) -> None:
    body, status = BAD_CHATS[case]
    answer = await post(await house.caller(), CHAT, body)
    assert error_of(answer) == (status, "invalid_request"), answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_a_body_beyond_the_limit_is_told_so(house: House) -> None:
    caller = await house.caller()
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x" * 9 * MIB}]}
    assert error_of(await post(caller, CHAT, body)) == (413, "invalid_request")


async def test_a_model_without_a_price_is_refused_on_credits_and_left_to_the_provider_otherwise(
    house: House,
) -> None:
    caller, model = await house.caller(), "openai/no-such-model"
    await house.grant(caller, 1_000_000)
    assert error_of(await caller.ask("hello", model=model, flow="deep_analysis")) == (422, "price_unknown")
    await caller.store_key("sk-sim-adventurous-001122")
    assert error_of(await caller.ask("hello", model=model)) in {(400, "invalid_request"), (404, "not_found")}


async def test_an_unknown_flow(house: House) -> None:
    answer = await (await house.caller()).ask("hello", flow="no such flow")
    assert error_of(answer) == (400, "invalid_request")


BAD_TOKENS: Final = (
    "",
    "Bearer",
    "Basic dXNlcjpwYXNz",
    "Bearer lk_" + "x" * 43,
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsInJvbGUiOiJhZG1pbiJ9.",
    "Bearer " + "a" * 20_000,
    "Bearer \xff\xfe",
)


@pytest.mark.parametrize("token", BAD_TOKENS, ids=range(len(BAD_TOKENS)))
@pytest.mark.parametrize("path", ["/api/keys", "/api/credits", "/v1/models"])
async def test_a_bad_token(house: House, path: str, token: str) -> None:
    async with http_client(base_url=house.url) as client:
        answer = await client.get(path, headers={b"authorization": token.encode("latin-1")})
    assert error_of(answer) == (401, "unauthenticated"), answer.text


async def test_a_user_is_no_administrator(house: House) -> None:
    caller = await house.caller()
    body = {"user_id": caller.user_id, "credits": 5, "idempotency_key": "mine"}
    assert error_of(await post(caller, "/api/admin/credits/grants", body)) == (403, "forbidden")
    body["reason"] = "mine"
    assert error_of(await post(caller, "/api/admin/credits/adjustments", body)) == (403, "forbidden")
    for path in ("usage", f"credits/{caller.user_id}", f"credits/{caller.user_id}/statement"):
        assert error_of(await caller.http.get(f"/api/admin/{path}")) == (403, "forbidden")


BAD_GRANTS: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "no credits": {"user_id": "u", "idempotency_key": "k"},
    "negative credits": {"user_id": "u", "credits": -1, "idempotency_key": "k"},
    "no number": {"user_id": "u", "credits": "NaN", "idempotency_key": "k"},
    "infinitely many": {"user_id": "u", "credits": "Infinity", "idempotency_key": "k"},
    "too fine": {"user_id": "u", "credits": "0.0000001", "idempotency_key": "k"},
    "too many": {"user_id": "u", "credits": "1" + "0" * 30, "idempotency_key": "k"},
    "no plain decimal": {"user_id": "u", "credits": "1e3", "idempotency_key": "k"},
    "underscores": {"user_id": "u", "credits": "1_000", "idempotency_key": "k"},
    "for nobody": {"user_id": "", "credits": 1, "idempotency_key": "k"},
    "no idempotency key": {"user_id": "u", "credits": 1},
}


@pytest.mark.parametrize("case", BAD_GRANTS)
async def test_bad_grants(house: House, case: str) -> None:
    admin = await house.caller("admin", "admin")
    answer = await post(admin, "/api/admin/credits/grants", BAD_GRANTS[case])
    assert error_of(answer) == (422, "invalid_request"), answer.text


async def test_a_bad_key_is_refused_without_an_echo(house: House) -> None:
    caller, key = await house.caller(), f"sk-echo-{secrets.token_hex(20)}"
    bodies: list[bytes | Any] = [
        {"service": "nobody", "api_key": key},
        {"service": "openai", "api_key": [key]},
        {"service": "openai", "api_key": {"key": key}},
        {"service": "openai", "api_key": f"{key}\n{key}"},
        {"service": "openai", "api_key": key * 500},
        {"service": "openai", "api_key": key, "label": "x" * 5000},
        {"service": "openai", "api_key": key, "baseUrl": f"ftp://{key}@example.org"},
        {"api_key": key},
        f'{{"service": "openai", "api_key": "{key}"'.encode(),
    ]
    for body in bodies:
        answer = await post(caller, "/api/keys", body)
        assert error_of(answer) == (422, "invalid_request"), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert key not in answer.text
    header = await caller.http.post(
        CHAT, json={"model": MODEL, "messages": HELLO}, headers={"X-OpenAI-Key": f"{key} {key}"}
    )
    assert error_of(header) == (400, "invalid_request")
    assert key not in header.text
    assert all(key not in log for log in house.logs().values())


async def test_another_users_ids_are_unknown(house: House) -> None:
    owner, other = await house.caller("owner"), await house.caller("other")
    credential = await owner.store_key("sk-sim-not-yours-00112233")
    run_id = (await owner.ask("mine alone")).headers["latchkey-run-id"]
    await house.receipt(owner, run_id)

    for ids in (credential, run_id, str(uuid4()), "no-id-at-all", "%00", "a" * 5000):
        assert (await other.http.delete(f"/api/keys/{ids}")).status_code in {404, 422}
        assert (await other.http.get(f"/api/runs/{ids}/receipt")).status_code in {404, 422}
    assert error_of(await other.http.delete(f"/api/keys/{credential}")) == (404, "not_found")
    assert error_of(await other.http.get(f"/api/runs/{run_id}/receipt")) == (404, "not_found")
    assert [item["id"] for item in (await owner.get("/api/keys"))["items"]] == [credential]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/usage?limit=0", 422),
        ("/api/usage?limit=x", 422),
        ("/api/usage?limit=99999", 422),
        ("/api/usage?cursor=%00%ff", 422),
        ("/api/usage?cursor=MQ==x", 422),
        ("/api/usage?since=yesterday", 422),
        ("/api/usage?key_source=mine", 422),
        ("/api/usage?flow=%00", 422),
        ("/api/credits/statement?limit=0", 422),
        ("/api/credits/statement?cursor=MQ==", 422),
        ("/api/credits/statement?cursor=%00%ff", 422),
        ("/nowhere", 404),
    ],
)
async def test_bad_queries(house: House, path: str, status: int) -> None:
    assert (await (await house.caller()).http.get(path)).status_code == status


async def test_the_wrong_method(house: House) -> None:
    assert (await (await house.caller()).http.get(CHAT)).status_code == 405
