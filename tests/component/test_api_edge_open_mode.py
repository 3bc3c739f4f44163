"""A deployment without users: request keys and the platform's key are all there is."""

import pytest

from shared.kernel.names import KeyPolicy
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CHAT = "/v1/chat/completions"
ASK = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
KEYS = [{"X-OpenAI-Key": "sk-own-123456"}, {"X-Provider-Key": "lks_" + "a" * 40}]
FOR_USERS = [
    ("GET", "/api/keys"),
    ("POST", "/api/keys"),
    ("POST", "/api/keys/validate"),
    ("PUT", "/api/keys/1"),
    ("PATCH", "/api/keys/1"),
    ("DELETE", "/api/keys/1"),
    ("GET", "/api/user-settings"),
    ("POST", "/api/user-settings"),
    ("GET", "/api/credits"),
    ("GET", "/api/usage"),
    ("GET", "/api/credits/statement"),
    ("POST", "/api/user/deduct-credits"),
    ("GET", "/api/admin/credits/alice"),
    ("GET", "/api/admin/credits/alice/statement"),
    ("POST", "/api/admin/credits/adjustments"),
    ("GET", "/api/admin/usage"),
    ("GET", "/api/runs/1/receipt"),
    ("POST", "/api/admin/credits/grants"),
    ("PATCH", "/system/nodes/chat"),
]
FOR_ALL = ["/v1/models", "/v1/models/openai/gpt-4o", "/system/nodes", "/openrouter/status"]


def _open() -> Edge:
    return Edge(is_open=True)


@pytest.mark.parametrize("headers", KEYS)
@pytest.mark.parametrize("flow", ["chat", "solver", "deep_analysis"])
async def test_a_run_with_a_key_goes_on_that_key_and_no_other(headers: dict[str, str], flow: str) -> None:
    edge = _open()
    async with edge.client(None, headers) as nobody:
        answer = await nobody.post(CHAT, json=ASK, headers={"Latchkey-Flow": flow})
    (run,) = edge.bus.requested
    assert answer.status_code == 200
    assert (run.user_id, run.flow, run.policy) == ("anonymous", flow, KeyPolicy.USER_KEY_REQUIRED)
    assert (run.request_key or run.session_key) is not None
    assert not run.report_only
    ((_, binding),) = edge.sealer.sealed
    assert binding.user_id == "anonymous"


@pytest.mark.parametrize("flow", ["chat", "deep_analysis"])
async def test_a_run_without_one_is_the_platforms_and_nobodys(flow: str) -> None:
    edge = _open()
    async with edge.client(None) as nobody:
        answer = await nobody.post(CHAT, json=ASK, headers={"Latchkey-Flow": flow})
    (run,) = edge.bus.requested
    assert answer.status_code == 200
    assert (run.user_id, run.policy, run.request_key) == ("anonymous", KeyPolicy.SYSTEM, None)


async def test_a_strict_flow_wants_a_key() -> None:
    edge = _open()
    async with edge.client(None) as nobody:
        answer = await nobody.post(CHAT, json=ASK, headers={"Latchkey-Flow": "solver"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "user_api_key_required")
    assert edge.bus.requested == []


async def test_system_flows_stay_the_services() -> None:
    edge = _open()
    async with edge.client(None) as nobody:
        answer = await nobody.post(CHAT, json=ASK, headers={"Latchkey-Flow": "system"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert edge.bus.requested == []


@pytest.mark.parametrize(("method", "path"), FOR_USERS)
async def test_what_needs_a_user_is_forbidden(method: str, path: str) -> None:
    async with _open().client(None) as nobody:
        answer = await nobody.request(method, path, content=b"{")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", FOR_ALL)
async def test_the_rest_is_open(path: str) -> None:
    async with _open().client(None) as nobody:
        assert (await nobody.get(path)).status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/api/keys"])
@pytest.mark.parametrize("authorization", ["", "Bearer lk_wrong", "Bearer nonsense", "Basic abc"])
async def test_a_bad_token_is_still_refused(path: str, authorization: str) -> None:
    edge = _open()
    async with edge.client(None, {"authorization": authorization}) as client:
        answer = await client.request("POST" if path == CHAT else "GET", path, json=ASK)
    assert answer.status_code == 401
    assert edge.bus.requested == []


async def test_a_good_token_works_as_itself() -> None:
    edge = _open()
    async with edge.client() as alice, edge.client("lk_admin") as admin:
        await alice.post(CHAT, json=ASK)
        keys = await alice.get("/api/keys")
        change = await admin.patch("/system/nodes/chat", json={"report_only": True})
    (run,) = edge.bus.requested
    assert (run.user_id, run.policy) == ("alice", KeyPolicy.USER_KEY_PREFERRED)
    assert (keys.status_code, change.status_code) == (200, 200)


@pytest.mark.parametrize("is_open", [True, False])
async def test_no_token_may_name_the_anonymous_caller(*, is_open: bool) -> None:
    async with Edge(is_open=is_open).client("jwt-anonymous") as client:
        answer = await client.get("/api/keys")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
