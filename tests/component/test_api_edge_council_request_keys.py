"""Keys that come with a council: each goes only to those that it is for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.key_vault.domain.session import SessionClaims, write_token
from shared.contracts.runs import RunRequested
from shared.kernel.names import KeyService
from tests.fakes.api_edge import Edge
from tests.waiting import until

pytestmark = pytest.mark.component

OPENAI, GROQ, GATEWAY = "openai/gpt-4o-mini", "groq/llama-3.3-70b-versatile", "gateway/llama"
BODY: dict[str, Any] = {
    "members": [OPENAI, GROQ],
    "model": OPENAI,
    "messages": [{"role": "user", "content": "2 + 2?"}],
}
PLAIN = "sk-0123456789abcdef"


def a_token(service: str) -> str:
    claims = SessionClaims("alice", KeyService(service), None, datetime.now(UTC) + timedelta(hours=1))
    return write_token(claims, "vault:v1:AAAA")


async def asked(edge: Edge, body: dict[str, Any], headers: dict[str, str]) -> list[tuple[str, bool]]:
    """Call a council; return whom of its runs was asked, and whether a key went along."""
    async with edge.client(headers=headers) as client:
        answer = await client.post("/api/councils", json=body)
        assert answer.status_code == 202, answer.text
        members = [member for member in answer.json()["members"] if member["run_id"]]
        await until(lambda: len(edge.bus.requested) == len(members) + 1)
    return [(run.model, _has_key(run)) for run in edge.bus.requested]


def _has_key(run: RunRequested) -> bool:
    return run.request_key is not None or run.session_key is not None


async def with_stored_groq_key() -> Edge:
    edge = Edge()
    async with edge.client() as client:
        key = {"service": "groq", "api_key": "gsk_0123456789abcdef"}
        (await client.post("/api/keys", json=key)).raise_for_status()
    edge.sealer.sealed.clear()
    return edge


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"members": [OPENAI], "model": GROQ},
        {"members": [GROQ], "model": None},
        {"members": [OPENAI, GATEWAY]},
    ],
)
async def test_a_key_that_says_not_whose_it_is_goes_to_nobody(changed: dict[str, Any]) -> None:
    edge = Edge()
    headers = {"X-Provider-Key": PLAIN, "X-Gateway-Base-URL": "https://gateway.example/v1"}
    async with edge.client(headers=headers) as client:
        answer = await client.post("/api/councils", json={**BODY, **changed})
    error = answer.json()
    assert (answer.status_code, error["code"], error["param"]) == (422, "invalid_request", "X-Provider-Key")
    assert "X-OpenAI-Key" in error["message"]
    assert (edge.bus.requested, edge.sealer.sealed, edge.councils.kept) == ([], [], {})


async def test_the_model_that_a_user_prefers_is_looked_at_too() -> None:
    edge = Edge()
    await edge.preferences.set_model("alice", GROQ, {"temperature": 0.5})
    async with edge.client(headers={"X-Provider-Key": PLAIN}) as client:
        answer = await client.post("/api/councils", json={**BODY, "members": [OPENAI], "model": None})
    assert (answer.status_code, answer.json()["param"]) == (422, "X-Provider-Key")


async def test_of_one_provider_it_serves_all() -> None:
    told = await asked(Edge(), {**BODY, "members": [OPENAI, "openai/gpt-4.1"]}, {"X-Provider-Key": PLAIN})
    assert told == [(OPENAI, True), ("openai/gpt-4.1", True), (OPENAI, True)]


async def test_a_session_key_goes_to_those_that_it_is_for_and_stored_keys_serve_the_others() -> None:
    edge = await with_stored_groq_key()
    told = await asked(edge, BODY, {"X-Provider-Key": a_token("openai")})
    assert told == [(OPENAI, True), (GROQ, False), (OPENAI, True)]
    assert {binding.service for _, binding in edge.sealer.sealed} == {KeyService.OPENAI}


async def test_the_last_chat_is_passed_over_like_a_member() -> None:
    body = {**BODY, "members": [GROQ]}
    assert await asked(Edge(), body, {"X-Provider-Key": a_token("groq")}) == [(GROQ, True), (OPENAI, False)]


async def test_whom_neither_serves_is_skipped() -> None:
    assert await asked(Edge(), BODY, {"X-Provider-Key": a_token("openai")}) == [
        (OPENAI, True),
        (OPENAI, True),
    ]


@pytest.mark.parametrize("token", [a_token("openrouter"), a_token("gateway"), "lks_of-somebody"])
async def test_what_serves_every_provider_or_says_nothing_goes_to_all(token: str) -> None:
    assert await asked(Edge(), BODY, {"X-Provider-Key": token}) == [
        (OPENAI, True),
        (GROQ, True),
        (OPENAI, True),
    ]


async def test_the_last_model_is_decided_when_the_council_is_called() -> None:
    edge = await with_stored_groq_key()
    await edge.preferences.set_model("alice", GROQ, {"temperature": 0.5})
    told = await asked(edge, {**BODY, "model": None}, {"X-OpenAI-Key": PLAIN})
    assert told == [(OPENAI, True), (GROQ, False), (GROQ, False)]
    assert [run.body.get("temperature") for run in edge.bus.requested] == [None, None, 0.5]


async def test_a_key_that_cannot_serve_a_member_is_passed_over_for_that_one() -> None:
    body = {**BODY, "members": [OPENAI, GATEWAY]}
    assert await asked(Edge(), body, {"X-OpenRouter-Key": PLAIN}) == [(OPENAI, True), (OPENAI, True)]


async def test_a_single_run_passes_every_session_key_on() -> None:
    edge = await with_stored_groq_key()
    async with edge.client(headers={"X-Provider-Key": a_token("openai")}) as client:
        await client.post("/v1/chat/completions", json={"model": GROQ, "messages": BODY["messages"]})
    assert [_has_key(run) for run in edge.bus.requested] == [True]


async def test_a_gateways_model_that_only_openrouter_could_serve_is_skipped() -> None:
    edge = Edge()
    edge.key_vault.platform_services = (KeyService.OPENROUTER,)
    assert await asked(edge, {**BODY, "members": [OPENAI, GATEWAY]}, {}) == [(OPENAI, False), (OPENAI, False)]
