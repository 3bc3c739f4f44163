"""Errors in both shapes and languages, wherever they come from; nothing echoed, nothing unhandled."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from services.api_edge.domain.request_keys import KEY_HEADERS
from shared.kernel.errors import InternalError
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CHAT = "/v1/chat/completions"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
SIGNED_IN = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/openai/gpt-4o"),
    ("POST", CHAT),
    ("GET", "/api/keys"),
    ("POST", "/api/keys"),
    ("DELETE", "/api/keys/1"),
    ("PUT", "/api/keys/1"),
    ("PATCH", "/api/keys/1"),
    ("POST", "/api/keys/validate"),
    ("GET", "/api/user-settings"),
    ("POST", "/api/user-settings"),
    ("GET", "/openrouter/status"),
    ("GET", "/api/providers/status"),
    ("GET", "/api/admin/platform-keys"),
    ("PATCH", "/api/admin/platform-keys/1"),
    ("POST", "/api/admin/keys/revoke"),
    ("POST", "/api/admin/keys/rewrap"),
    ("GET", "/api/credits"),
    ("GET", "/api/usage"),
    ("GET", "/api/credits/statement"),
    ("POST", "/api/user/deduct-credits"),
    ("GET", "/api/admin/credits/alice"),
    ("GET", "/api/admin/credits/alice/statement"),
    ("POST", "/api/admin/credits/adjustments"),
    ("GET", "/api/admin/usage"),
    ("POST", "/api/admin/credits/grants"),
    ("GET", "/api/runs/1/receipt"),
    ("GET", "/system/nodes"),
    ("PATCH", "/system/nodes/chat"),
]


@pytest.mark.parametrize(("method", "path"), SIGNED_IN)
@pytest.mark.parametrize("authorization", [None, "Bearer lk_wrong", "Bearer nonsense", "Basic abc", "Bearer"])
async def test_everything_wants_a_token(method: str, path: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    async with Edge().client(None, headers) as nobody:
        answer = await nobody.request(method, path, content=b"{")
    error = answer.json()["error"] if path.startswith("/v1") else answer.json()
    assert (answer.status_code, error["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("language", "message"),
    [("it-IT,en;q=0.5", "`messages` è obbligatorio."), ("fr", "`messages` is required.")],
)
async def test_openais_shape_in_the_readers_language(language: str, message: str) -> None:
    async with Edge().client(headers={"accept-language": language}) as client:
        answer = await client.post(CHAT, json={"model": "gpt-4o-mini"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-language"] == language[:2].replace("fr", "en")
    error = answer.json()["error"]
    assert (error["message"], error["param"]) == (message, "messages")
    assert (error["code"], error["type"]) == ("invalid_request", "invalid_request_error")
    assert error["run_id"] == answer.headers["latchkey-run-id"]


@pytest.mark.parametrize(
    ("language", "title"), [("it", "La richiesta non è valida."), ("en", "The request is not valid.")]
)
async def test_problem_json_in_the_readers_language(language: str, title: str) -> None:
    async with Edge().client(headers={"accept-language": language}) as client:
        answer = await client.post("/api/keys", json={})
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["title"], problem["status"], problem["param"]) == (title, 422, "service")


@pytest.mark.parametrize(
    ("flow", "model", "told"),
    [
        ("nope", "gpt-4o-mini", (400, "Latchkey-Flow", "invalid_request")),
        ("chat", "nope", (404, "model", "model_not_found")),
        ("chat", "nobody/m", (404, "model", "model_not_found")),
    ],
)
async def test_unknown_words_are_named(flow: str, model: str, told: tuple[int, str, str]) -> None:
    async with Edge().client() as client:
        answer = await client.post(CHAT, json={**ASK, "model": model}, headers={"Latchkey-Flow": flow})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == told


async def test_a_key_header_is_never_echoed() -> None:
    async with Edge().client() as client:
        answer = await client.post(CHAT, json=ASK, headers={"X-OpenAI-Key": "sk-canary 0123456789"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-openai-key")
    assert "canary" not in answer.text + str(answer.headers)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/api/nope", 404, "not_found"),
        ("GET", "/api/keys/", 404, "not_found"),
        ("GET", "/v1/chat/completions/", 404, "not_found"),
        ("GET", "/%00%ff", 404, "not_found"),
        ("GET", "/static-offline-docs/../../etc/passwd", 404, "not_found"),
        ("PUT", "/api/keys", 405, "invalid_request"),
        ("GET", CHAT, 405, "invalid_request"),
        ("OPTIONS", CHAT, 405, "invalid_request"),
    ],
)
async def test_wrong_ways_in(method: str, path: str, status: int, code: str) -> None:
    async with Edge().client() as client:
        answer = await client.request(method, path)
    error = answer.json()["error"] if path.startswith("/v1/") else answer.json()
    assert (answer.status_code, error["code"]) == (status, code)
    assert ("allow" in answer.headers) == (status == 405)


async def test_a_wrong_method_is_told_all_that_the_path_has() -> None:
    async with Edge().client() as client:
        told = {path: (await client.put(path)).headers["allow"] for path in ("/api/keys", "/api/runs", CHAT)}
        of_a_key = await client.post("/api/keys/01939a2f-0000-7000-8000-0000000000c1")
        of_a_price = await client.post("/api/admin/prices/openai/gpt-4o")
        of_grants = await client.put("/api/admin/credits/grants")
    assert told == {"/api/keys": "GET, POST", "/api/runs": "GET, POST", CHAT: "POST"}
    assert of_a_key.headers["allow"] == "DELETE, PATCH, PUT"
    assert of_a_price.headers["allow"] == "DELETE, GET, PUT"
    assert of_grants.headers["allow"] == "POST"


@pytest.mark.parametrize("path", [CHAT, "/api/keys", "/api/admin/credits/grants"])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_huge_body_is_refused_while_it_is_read(path: str, *, announced: bool) -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(10_000):
            pulled += 1
            yield b"x" * 1024

    edge = Edge(body_bytes_max=64 * 1024)
    async with edge.client("lk_admin") as client:
        content = b"x" * (64 * 1024 + 1) if announced else endless()
        answer = await client.post(path, content=content)
    error = answer.json()["error"] if path == CHAT else answer.json()
    assert (answer.status_code, error["code"]) == (413, "invalid_request")
    assert pulled <= 9 * 64 + 2  # the limit, and eight times as much thrown away
    assert edge.bus.requested == []


async def test_a_body_at_the_limit_is_read() -> None:
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"' + b"x" * 1000 + b'"}]}'
    async with Edge(body_bytes_max=len(body)).client() as client:
        assert (await client.post(CHAT, content=body)).status_code == 200


async def test_a_defect_of_ours_is_a_typed_error_without_a_trace() -> None:
    edge = Edge()
    edge.billing.error = InternalError("canary-detail")
    async with edge.client(headers={"accept-language": "it"}) as client:
        answer = await client.get("/api/credits")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["message"] == "Qualcosa è andato storto da parte nostra."
    assert "canary" not in answer.text


@pytest.mark.parametrize(("path", "is_v1"), [("/api/keys", False), ("/v1/models", True)])
async def test_an_unforeseen_exception_is_a_typed_error_too(path: str, *, is_v1: bool) -> None:
    edge = Edge()
    edge.tokens.error = ZeroDivisionError("canary-detail")  # type: ignore[assignment]
    async with edge.client() as client:
        answer = await client.get(path)
    error = answer.json()["error"] if is_v1 else answer.json()
    assert (answer.status_code, error["code"]) == (500, "internal_error")
    assert "canary" not in answer.text


async def test_one_log_line_a_request_and_no_secret_in_it() -> None:
    edge = Edge()
    canary = "sk-canary-0123456789"
    with capture_logs() as lines:
        async with edge.client() as client:
            await client.post(CHAT, json=ASK, params={"key": canary}, headers={"X-OpenAI-Key": canary})
            await client.delete("/api/keys/some-id", params={"key": canary})
            await client.get(f"/nope/{canary}")
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in requests] == [
        ("POST", CHAT, 200),
        ("DELETE", "/api/keys/{credential_id}", 404),
        ("GET", "unmatched", 404),
    ]
    assert requests[0]["run_id"] == str(edge.bus.requested[0].run_id)
    assert (requests[0]["user_id"], requests[0]["key_source"]) == ("alice", "user")
    assert requests[1]["code"] == "not_found"
    assert "canary" not in str(lines)


async def test_frontends_elsewhere_are_let_in_when_configured() -> None:
    origin = "https://app.example"
    key_headers = ", ".join(KEY_HEADERS)
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": key_headers,
    }
    async with Edge(cors_origins=(origin,)).client() as client:
        preflight = await client.options(CHAT, headers=asked)
        sent = {"origin": origin, "X-OpenAI-Key": "sk-canary-0123456789"}
        answer = await client.post(CHAT, json=ASK, headers=sent)
    async with Edge().client() as client:
        closed = await client.get("/v1/models", headers={"origin": origin})
    assert preflight.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert preflight.headers["access-control-allow-headers"] == key_headers
    exposed = answer.headers["access-control-expose-headers"]
    assert exposed == (
        "Latchkey-Run-Id, Latchkey-Key-Source, Latchkey-Cost, Location, Content-Language, X-Request-Id, "
        "X-Should-Retry, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy"
    )
    assert "canary" not in answer.text + str(answer.headers)
    assert "access-control-allow-origin" not in closed.headers


@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/speech", "/v1/completions", "/api/nothing"])
async def test_an_endpoint_that_is_not_there_is_told_from_a_thing_that_is_not(path: str) -> None:
    async with Edge().client() as client:
        answer = await client.post(path, json={})
    told = answer.json().get("error", answer.json())
    assert (answer.status_code, told["code"], told["detail"]) == (404, "not_found", "no_such_endpoint")
    assert told["message"] == "Latchkey has no such endpoint."
