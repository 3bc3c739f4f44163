"""Flows on real servers: seeded at the start, changed on one instance, followed by another; open mode."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any

import httpx2
import pytest

from services.api_edge.api import shipped_flows
from services.api_edge.settings import EdgeSettings
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyPolicy
from tests.gate import Gates, free_port
from tests.integration.api_edge.house import House, serving_edge
from tests.loopback import http_client
from tests.waiting import until

pytestmark = pytest.mark.integration

Mint = Callable[..., Awaitable[str]]
CHAT = "/v1/chat/completions"
NODES = "/system/nodes"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
GATEWAY = {"X-Gateway-Key": "vck-canary-123456", "X-Gateway-Base-URL": "https://gateway.example/v1"}
TOKEN = "lks_" + "canary" * 10


def _another(settings: EdgeSettings, **changes: object) -> EdgeSettings:
    http = settings.http.model_copy(update={"port": free_port()})
    return settings.model_copy(update={"instance": token_hex(4), "http": http, **changes})


def _client(settings: EdgeSettings, token: str | None) -> httpx2.AsyncClient:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{settings.http.port}"
    return http_client(base_url=url, headers=headers, timeout=20)


async def test_what_ships_is_there_from_the_start(house: House, mint: Mint) -> None:
    async with house.client(await mint("root", "admin")) as admin:
        listed = (await admin.get(NODES)).json()["items"]
    assert {item["task_name"] for item in listed} == {flow.name for flow in shipped_flows()}
    assert all(item["updated_at"] for item in listed)


async def test_a_change_holds_on_every_instance_within_a_second(
    house: House, mint: Mint, settings: EdgeSettings
) -> None:
    token, other = await mint("root", "admin"), _another(settings)
    flow = {"Latchkey-Flow": "playground"}
    async with serving_edge(other), house.client(token) as here, _client(other, token) as there:
        while (before := await there.post(CHAT, json=ASK, headers=flow)).status_code != 200:
            await asyncio.sleep(0.05)
        change = {"key_policy": "user_key_required", "default_model": "gpt-4o", "report_only": True}
        changed = await here.patch(f"{NODES}/playground", json=change)
        await here.post(CHAT, json=ASK, headers=flow)
        await asyncio.sleep(1.0)
        await there.post(CHAT, json=ASK, headers=flow)
        listed = (await there.get(NODES)).json()["items"]
        back = {"key_policy": "user_key_preferred", "default_model": "gpt-4o-mini", "report_only": False}
        await there.patch(f"{NODES}/playground", json=back)
    assert (before.status_code, changed.status_code) == (200, 200)
    assert changed.json() in listed
    policies = [(run.policy, run.model, run.report_only) for run in house.worker.requested]
    assert policies == [
        (KeyPolicy.USER_KEY_PREFERRED, "openai/gpt-4o-mini", False),
        (KeyPolicy.USER_KEY_REQUIRED, "openai/gpt-4o", True),
        (KeyPolicy.USER_KEY_REQUIRED, "openai/gpt-4o", True),
    ]


@pytest.mark.parametrize("how", ["closed", "frozen"])
async def test_while_postgres_is_away_the_last_known_flows_are_told(
    house: House, mint: Mint, gates: Gates, how: str
) -> None:
    async with house.client(await mint("root", "admin")) as admin:
        before = (await admin.get(NODES)).json()
        if how == "closed":
            await gates.postgres.close()
        else:
            gates.postgres.freeze()
        await asyncio.sleep(1.1)
        began = time.monotonic()
        listed = await admin.get(NODES)
        took_s = time.monotonic() - began
        await gates.postgres.open()
    assert (listed.status_code, listed.json()) == (200, before)
    assert took_s < 2


async def test_a_gateways_key_opens_for_its_address_only(house: House, mint: Mint) -> None:
    headers = {**GATEWAY, "X-Provider-Key": TOKEN}
    async with house.client(await mint()) as client:
        answer = await client.post(CHAT, json=ASK, headers=headers)
    (run,) = house.worker.requested
    assert answer.status_code == 200
    assert "canary" not in run.model_dump_json()
    assert house.key_vault.open_request_key(run) == GATEWAY["X-Gateway-Key"]
    assert house.key_vault.open_session_key(run) == TOKEN
    assert run.request_key is not None
    elsewhere = run.request_key.model_copy(update={"base_url": "https://elsewhere.example"})
    with pytest.raises(InvalidRequestError):
        house.key_vault.open_request_key(run.model_copy(update={"request_key": elsewhere}))


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/readyz")).is_success


async def test_an_open_edge_needs_no_token(house: House, mint: Mint, settings: EdgeSettings) -> None:
    token, open_ = await mint(), _another(settings, auth_mode="open")
    async with serving_edge(open_), _client(open_, None) as nobody, _client(open_, token) as alice:
        await until(lambda: _is_ready(nobody))
        answer = await nobody.post(CHAT, json=ASK)
        with_key = await nobody.post(CHAT, json=ASK, headers={"X-OpenAI-Key": "sk-canary-123456"})
        strict = await nobody.post(CHAT, json=ASK, headers={"Latchkey-Flow": "solver"})
        keys = await nobody.get("/api/keys")
        receipt = await nobody.get(f"/api/runs/{answer.headers['latchkey-run-id']}/receipt")
        own = await alice.post(CHAT, json=ASK)
    async with house.client("none") as closed:
        refused = await closed.post(CHAT, json=ASK)
    assert [(run.user_id, run.policy) for run in house.worker.requested] == [
        ("anonymous", KeyPolicy.SYSTEM),
        ("anonymous", KeyPolicy.USER_KEY_REQUIRED),
        ("alice", KeyPolicy.USER_KEY_PREFERRED),
    ]
    assert (answer.status_code, with_key.status_code, own.status_code) == (200, 200, 200)
    assert strict.json()["error"]["code"] == "user_api_key_required"
    assert [a.status_code for a in (strict, keys, receipt, refused)] == [403, 403, 403, 401]
