"""`/metrics` of every service, after runs of every kind: numbers, and nothing that must not be told."""

import re
import secrets
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from tests.acceptance.house import House, eventually, running_house
from tests.gate import free_port
from tests.loopback import http_client
from tests.nursery import Nursery
from tests.realm import temporary_realm

pytestmark = pytest.mark.acceptance

PARTS = ("api_edge", "key_vault", "billing", "inference-1")
KEY = "sk-sim-metrics-0011223344"


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {part: free_port() for part in PARTS}


@pytest_asyncio.fixture(scope="module")
async def metered(
    servers: Servers, parents: Nursery, tmp_path_factory: pytest.TempPathFactory, ports: Mapping[str, int]
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("metered")
    env = {part: {"LATCHKEY_METRICS__PORT": str(port)} for part, port in ports.items()}
    async with (
        temporary_realm(servers, folder) as realm,
        running_house(realm, folder, workers=1, gated=False, env=env, parents=parents) as house,
    ):
        yield house


async def read(port: int) -> str:
    async with http_client() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.raise_for_status().text


def value(text: str, name: str, **labels: str) -> float:
    """Sum up a metric's samples that have these labels."""
    found = 0.0
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if match and all(f'{label}="{wanted}"' in (match[1] or "") for label, wanted in labels.items()):
            found += float(match[2])
    return found


NOT_YET = {
    "api_edge": ('latchkey_dead_letters_total{queue="api_edge.runs"}',),
    "key_vault": ('latchkey_dead_letters_total{queue="key_vault.usage"}',),
    "billing": (
        'latchkey_dead_letters_total{queue="billing.usage"}',
        'latchkey_redeliveries_total{queue="billing.usage"}',
        'latchkey_holds_total{answer="insufficient_credits"}',
    ),
    "inference-1": (
        'latchkey_dead_letters_total{queue="inference.runs"}',
        'latchkey_redeliveries_total{queue="inference.runs"}',
        'latchkey_fallbacks_total{key_source="platform"}',
        'latchkey_would_be_refusals_total{policy="user_key_required"}',
        'latchkey_tokens_total{key_source="platform",kind="prompt"}',
    ),
}


async def test_what_has_not_happened_yet_is_told_as_0(metered: House, ports: Mapping[str, int]) -> None:
    """Prometheus sees no increase in a counter that appears as 1."""
    for part, samples in NOT_YET.items():
        told = (await read(ports[part])).splitlines()
        assert {f"{sample} 0.0" for sample in samples} <= set(told)


async def test_every_service_tells_what_runs_came_to(metered: House, ports: Mapping[str, int]) -> None:
    payer = await metered.caller(f"payer-{secrets.token_hex(4)}")
    owner = await metered.caller("owner")
    await metered.grant(payer, 1_000_000)
    await owner.store_key(KEY)
    assert (await owner.ask("one")).status_code == 200
    assert (await payer.ask("two", flow="deep_analysis", max_tokens=50)).status_code == 200
    assert (await owner.ask("[simulate status=500] three")).status_code == 502
    assert (await payer.ask("four", flow="solver")).status_code == 403

    async def is_recorded() -> bool:
        return value(await read(ports["billing"]), "latchkey_usage_events_total") >= 4

    await eventually(is_recorded, "billing has seen all four")
    edge, key_vault, billing, inference = [await read(ports[part]) for part in PARTS]

    chats = {"method": "POST", "path": "/v1/chat/completions"}
    assert value(edge, "latchkey_http_request_seconds_count", **chats, status="200") == 2
    assert value(edge, "latchkey_http_request_seconds_count", **chats, code="user_api_key_required") == 1
    assert value(edge, "latchkey_runs_waited_for") == 0
    attempts = "latchkey_attempts_total"
    assert value(inference, attempts, outcome="completed", key_source="user", provider="openai") == 1
    assert value(inference, attempts, outcome="completed", key_source="platform") == 1
    assert value(inference, attempts, outcome="failed", key_source="user") == 1
    assert value(inference, attempts, outcome="refused") == 1
    for part in ("queue", "resolve", "first_token", "total"):
        assert value(inference, "latchkey_attempt_seconds_count", part=part) >= 2
    assert value(inference, "latchkey_runs_in_flight") == 0
    resolved = "latchkey_rpc_seconds_count"
    assert value(key_vault, resolved, request="latchkey.key_vault.resolve.v1", code="ok") >= 2
    assert value(key_vault, resolved, code="user_api_key_required") == 1
    assert value(billing, "latchkey_holds_total", answer="held") == 1
    assert value(billing, "latchkey_ledger_seconds_count", work="hold") == 1
    assert value(billing, "latchkey_ledger_seconds_count", work="settle") >= 1
    assert value(billing, "latchkey_charged_credit_micros_total") > 0


async def test_nobody_is_named_and_no_key_is_told(metered: House, ports: Mapping[str, int]) -> None:
    caller = await metered.caller("nameless")
    await caller.store_key(KEY)
    await caller.http.get(f"/api/runs/{KEY}")
    await caller.http.request("SPY", f"/{caller.user_id}")
    for port in ports.values():
        told = await read(port)
        assert "process_resident_memory_bytes" in told
        for secret in (KEY, caller.user_id, "nameless", "SPY"):
            assert secret not in told
