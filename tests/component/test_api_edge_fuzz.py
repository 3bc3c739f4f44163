"""Whatever is sent, the answer is a typed one: never a 500, never an echo."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.api_edge.domain.request_keys import KEY_HEADERS
from services.api_edge.problems import RULES
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CANARY = "sk-canary0123456789"
_FUZZ = settings(max_examples=100, suppress_health_check=list(HealthCheck))

_scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats() | st.text() | st.just(CANARY)
)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
_chat = st.fixed_dictionaries(
    {},
    optional={
        "model": _json | st.just("gpt-4o-mini"),
        "messages": _json | st.just([{"role": "user"}]),
        "stream": _json | st.booleans(),
        "stream_options": _json,
        "extra": _json,
    },
)
_key = st.fixed_dictionaries(
    {},
    optional={
        "service": _json | st.just("openai"),
        "api_key": _json | st.just(CANARY),
        "label": _json,
        "persist": _json | st.sampled_from(["vault", "session"]),
        "position": _json,
        "status": _json | st.just("inactive"),
        "baseUrl": _json | st.just("https://llm.example/v1"),
        "user_id": _json | st.just("alice"),
        "limit": _json,
        "state": _json | st.just("ready"),
        "allowGatewayFallback": _json,
        "allow_platform_fallback": _json,
    },
)
"""All that any of the routes about keys reads."""
_moved = st.fixed_dictionaries(
    {},
    optional={
        "user_id": _json | st.just("alice"),
        "credits": _json | st.decimals().map(str),
        "idempotency_key": _json | st.just("k"),
        "reason": _json | st.just("because"),
        "feature": _json | st.just("export"),
        "run_id": _json | st.just(str(UUID(int=1))),
    },
)
_header = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
_ASK = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hi"}]}'
_PATHS = {
    "/v1/chat/completions": _chat,
    "/api/admin/credits/grants": _moved,
    "/api/admin/credits/adjustments": _moved,
    "/api/user/deduct-credits": _moved,
    "/api/keys": _key,
    "/api/keys/validate": _key,
    "/api/user-settings": _key,
    "/api/admin/keys/revoke": _key,
    "/api/admin/keys/rewrap": _key,
}
_CHANGES = [
    ("PUT", f"/api/keys/{UUID(int=1)}"),
    ("PATCH", f"/api/keys/{UUID(int=1)}"),
    ("PATCH", "/api/admin/platform-keys/platform:openai:0123456789ab"),
]


@pytest.fixture(scope="module")
def edge() -> Edge:
    """One application for all examples: making it takes longer than asking it."""
    return Edge()


@pytest.fixture(scope="module")
def open_edge() -> Edge:
    return Edge(is_open=True)


async def _post(edge: Edge, path: str, content: bytes, headers: dict[bytes, bytes] | None = None) -> None:
    await _send(edge, "POST", path, content, headers)


async def _send(
    edge: Edge, method: str, path: str, content: bytes, headers: dict[bytes, bytes] | None = None
) -> None:
    async with edge.client("lk_admin") as client:
        answer = await client.request(method, path, content=content, headers=headers)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"] if path.startswith("/v1/") else answer.json()
        assert error["code"] in RULES
        assert "canary" not in answer.text + str(answer.headers)


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # lone surrogates, huge integers: not JSON that a client can send
        return b"{}"


@pytest.mark.parametrize("path", _PATHS)
@_FUZZ
@given(content=st.binary(max_size=300))
async def test_any_bytes(edge: Edge, path: str, content: bytes) -> None:
    await _post(edge, path, content)


@_FUZZ
@given(asked=st.sampled_from(sorted(_PATHS)).flatmap(lambda p: st.tuples(st.just(p), _PATHS[p] | _json)))
async def test_any_json(edge: Edge, asked: tuple[str, Any]) -> None:
    path, value = asked
    await _post(edge, path, _encoded(value))


@_FUZZ
@given(asked=st.sampled_from(_CHANGES), value=_key | _json)
async def test_any_change(edge: Edge, asked: tuple[str, str], value: Any) -> None:
    await _send(edge, *asked, _encoded(value))


@_FUZZ
@given(
    headers=st.dictionaries(
        st.sampled_from(["authorization", "latchkey-flow", "accept-language", *map(str.lower, KEY_HEADERS)]),
        _header | st.sampled_from([CANARY, f"lks_{CANARY}", "https://gateway.example/v1"]),
    ),
    model=st.sampled_from(["gpt-4o-mini", "gateway/m", "openrouter/auto"]),
)
async def test_any_headers(edge: Edge, headers: dict[str, str], model: str) -> None:
    ask = _ASK.replace(b"gpt-4o-mini", model.encode())
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    await _post(edge, "/v1/chat/completions", ask, raw)


@_FUZZ
@given(headers=st.dictionaries(st.sampled_from([*KEY_HEADERS, "Latchkey-Flow", "Authorization"]), _header))
async def test_any_headers_of_nobody(open_edge: Edge, headers: dict[str, str]) -> None:
    raw = {name.lower().encode(): value.encode("latin-1") for name, value in headers.items()}
    open_edge.bus.requested.clear()
    async with open_edge.client(None) as nobody:
        answer = await nobody.post("/v1/chat/completions", content=_ASK, headers=raw)
    assert answer.status_code in {200, 400, 401, 403}
    for run in open_edge.bus.requested:
        has_key = run.request_key is not None or run.session_key is not None
        assert (run.user_id, run.policy) == ("anonymous", "user_key_required" if has_key else "system")


@_FUZZ
@given(path=st.text(max_size=30).filter(lambda text: text not in {".", ".."}), query=st.text(max_size=30))
async def test_any_path(edge: Edge, path: str, query: str) -> None:
    async with edge.client() as client:
        answer = await client.get("/api/runs/" + quote(path, safe=""), params={"limit": query})
        usage = await client.get("/api/usage", params={"limit": query, "cursor": path})
        receipt = await client.get(f"/api/runs/{quote(path, safe='')}/receipt")
    assert answer.status_code in {404, 405}
    assert receipt.status_code == 404
    assert usage.status_code in {200, 422}


@_FUZZ
@given(user_id=st.text(max_size=30), query=st.text(max_size=30))
async def test_any_user_and_any_filter(edge: Edge, user_id: str, query: str) -> None:
    path = f"/api/admin/credits/{quote(user_id, safe='')}"
    names = ("user_id", "since", "until", "flow", "model", "key_source", "limit", "cursor")
    async with edge.client("lk_admin") as admin:
        answers = [
            await admin.get(path),
            await admin.get(f"{path}/statement", params={"cursor": query}),
            *[await admin.get("/api/admin/usage", params={name: query}) for name in names],
        ]
    assert {answer.status_code for answer in answers} <= {200, 404, 422}
