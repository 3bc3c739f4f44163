"""`/system/nodes`: who sees which flows, what an administrator may change, and what runs make of it."""

from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.api_edge.domain.identity import Caller
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.names import KeyPolicy, Role
from tests.fakes.api_edge import ALICE, Edge

pytestmark = pytest.mark.component

NODES = "/system/nodes"
CHAT = "/v1/chat/completions"
ASK = {"messages": [{"role": "user", "content": "Hi"}]}


def _with_service(edge: Edge) -> Edge:
    edge.tokens.put("lk_service", Caller("cron", Role.SERVICE))
    return edge


async def _nodes(client: httpx2.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await client.get(NODES)
    assert (answer.status_code, answer.json()["next_cursor"]) == (200, None)
    return {item["task_name"]: item for item in answer.json()["items"]}


async def test_flows_are_listed() -> None:
    async with Edge().client() as alice:
        nodes = await _nodes(alice)
    assert nodes["solver"] == {
        "task_name": "solver",
        "description": nodes["solver"]["description"],
        "key_policy": "user_key_required",
        "default_model": "openai/gpt-4o-mini",
        "report_only": False,
        "updated_at": None,
    }
    assert nodes["solver"]["description"]
    assert len(nodes) == 12


@pytest.mark.parametrize(("token", "sees"), [("lk_alice", False), ("lk_admin", True), ("lk_service", True)])
async def test_system_flows_are_shown_to_administrators_and_services(token: str, *, sees: bool) -> None:
    async with _with_service(Edge()).client(token) as client:
        assert ("system" in await _nodes(client)) == sees


async def test_an_administrator_changes_a_flow_and_the_next_run_follows() -> None:
    edge = Edge()
    change = {"key_policy": "user_key_required", "default_model": "gpt-4o", "report_only": True}
    async with edge.client("lk_admin") as admin, edge.client() as alice:
        await alice.post(CHAT, json=ASK)
        answer = await admin.patch(f"{NODES}/chat", json=change)
        await alice.post(CHAT, json=ASK)
        nodes = await _nodes(alice)
    before, after = edge.bus.requested
    assert answer.status_code == 200
    assert answer.json() == nodes["chat"]
    assert nodes["chat"]["default_model"] == "openai/gpt-4o"
    assert nodes["chat"]["updated_at"] == "2026-01-01T12:00:00Z"
    assert (before.policy, before.model, before.report_only) == (
        KeyPolicy.USER_KEY_PREFERRED,
        "openai/gpt-4o-mini",
        False,
    )
    assert (after.policy, after.model, after.report_only) == (
        KeyPolicy.USER_KEY_REQUIRED,
        "openai/gpt-4o",
        True,
    )
    assert edge.flows.changed_by == {"chat": "root"}


@pytest.mark.parametrize(
    "change",
    [
        {"key_policy": "platform_only"},
        {"default_model": "groq/llama-3.1-8b-instant"},
        {"description": "Altro: più di ciò."},
        {"report_only": True},
        {"report_only": True, "unknown": 1},
    ],
)
async def test_what_is_not_named_stays(change: dict[str, object]) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        before = (await _nodes(admin))["chat"]
        answer = await admin.patch(f"{NODES}/chat", json=change)
    named = {name: value for name, value in change.items() if name in before}
    assert answer.json() == {**before, **named, "updated_at": "2026-01-01T12:00:00Z"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"key_policy": "free_for_all"}, "key_policy"),
        ({"key_policy": None}, "key_policy"),
        ({"key_policy": ["system"]}, "key_policy"),
        ({"default_model": "model-99"}, "default_model"),
        ({"default_model": ""}, "default_model"),
        ({"default_model": None}, "default_model"),
        ({"default_model": 5}, "default_model"),
        ({"default_model": "openai/sk-canary-0123456789"}, "default_model"),
        ({"description": ""}, "description"),
        ({"description": None}, "description"),
        ({"description": "x" * 501}, "description"),
        ({"description": "a\x00b"}, "description"),
        ({"description": "sk-canary-0123456789"}, "description"),
        ({"report_only": "yes"}, "report_only"),
        ({"report_only": 1}, "report_only"),
        ({"report_only": None}, "report_only"),
        ({}, "key_policy, default_model, description, report_only"),
        ({"policy": "system"}, "key_policy, default_model, description, report_only"),
        ([], None),
    ],
)
async def test_a_bad_change_is_named_and_changes_nothing(change: object, param: str | None) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        before = await _nodes(admin)
        answer = await admin.patch(f"{NODES}/chat", json=change)
        assert await _nodes(admin) == before
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["param"] == param
    assert "canary" not in answer.text
    assert "None" not in answer.json()["message"]


@pytest.mark.parametrize(
    "name", ["nope", "Chat", "chat%00", "chat%0A", "%F0%9F%98%80", "sk-canary-0123456789"]
)
async def test_an_unknown_flow_is_not_found(name: str) -> None:
    async with Edge().client("lk_admin") as admin:
        answer = await admin.patch(f"{NODES}/{name}", json={"report_only": True})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "canary" not in answer.text


@pytest.mark.parametrize("token", ["lk_alice", "lk_service"])
async def test_only_administrators_change_flows(token: str) -> None:
    edge = _with_service(Edge())
    async with edge.client(token) as client:
        answer = await client.patch(f"{NODES}/chat", json={"key_policy": "platform_only"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert edge.flows.changed_by == {}


async def test_system_flows_run_for_services_only() -> None:
    edge = _with_service(Edge())
    flow = {"Latchkey-Flow": "system"}
    for token, status in {"lk_alice": 403, "lk_admin": 403, "lk_service": 200}.items():
        async with edge.client(token) as client:
            answer = await client.post(CHAT, json=ASK, headers=flow)
        assert answer.status_code == status
    (run,) = edge.bus.requested
    assert (run.user_id, run.policy) == ("cron", KeyPolicy.SYSTEM)


async def test_runs_cost_no_query_each() -> None:
    edge = Edge()
    async with edge.client() as alice:
        for _ in range(10):
            await alice.post(CHAT, json=ASK)
    assert len(edge.bus.requested) == 10
    assert edge.flows.read <= 2  # more than one when ten runs took half a second


async def test_without_the_database_flows_known_go_on_and_are_not_changed() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        before = await _nodes(admin)
        edge.flows.error = DatabaseUnavailableError(retry_after_s=2)
        after = await _nodes(admin)
        answer = await admin.patch(f"{NODES}/chat", json={"report_only": True})
    assert after == before
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


async def test_flows_never_read_are_not_guessed() -> None:
    edge = Edge()
    edge.flows.error = DatabaseUnavailableError()
    async with edge.client() as alice:
        answers = [await alice.get(NODES), await alice.post(CHAT, json=ASK)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert edge.bus.requested == []


@pytest.fixture(scope="module")
def fuzzed() -> Edge:
    edge = Edge()
    edge.tokens.put("lk_alice", ALICE)
    return edge


_scalars = st.none() | st.booleans() | st.integers() | st.text() | st.just("sk-canary0123456789")
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)
_changes = st.fixed_dictionaries(
    {},
    optional={
        "key_policy": _values | st.sampled_from(KeyPolicy),
        "default_model": _values | st.just("gpt-4o-mini"),
        "description": _values,
        "report_only": _values,
    },
)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(change=_changes | _values, name=st.sampled_from(["chat", "solver", "system", "nope"]))
async def test_any_change(fuzzed: Edge, change: Any, name: str) -> None:
    async with fuzzed.client("lk_admin") as admin:
        answer = await admin.patch(f"{NODES}/{name}", json=change)
        listed = await admin.get(NODES)
    assert answer.status_code in {200, 404, 422}
    assert "canary" not in answer.text + listed.text
    assert len(listed.json()["items"]) == 13
    assert all(item["description"] and item["default_model"] for item in listed.json()["items"])
