"""The process itself: JSON logs without secrets, an orderly end, settings that are named when missing."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from shared.kernel.names import API_EDGE
from tests.gate import free_port
from tests.loopback import http_client
from tests.processes import core_limits, service_process
from tests.realm import TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

Mint = Callable[..., Awaitable[str]]


async def test_a_life(realm: TestRealm, mint: Mint) -> None:
    port, token = free_port(), await mint()
    env = {
        "LATCHKEY_ENV_FILE": str(realm.env_dir / f"{API_EDGE}.env"),
        "LATCHKEY_HTTP__PORT": str(port),
        "LATCHKEY_HTTP__GRACE_S": "1",
    }
    async with service_process(API_EDGE, env) as process:
        headers = {"authorization": f"Bearer {token}", "x-openai-key": "canary-header"}
        url = f"http://127.0.0.1:{port}"
        async with http_client(base_url=url, headers=headers) as client:
            await until(lambda: _has_all_servers(client))
            assert core_limits(process.pid) == ["0", "0"]
            models = await client.get("/v1/models", params={"key": "canary-query"})
            nowhere = await client.get("/canary-path/x", params={"token": "canary-param"})
            no_run = await client.get("/api/runs/canary-run/events")
            bad = await client.post("/api/keys", json={"service": "openai", "api_key": "canary two"})
        process.send_signal(signal.SIGTERM)
        said, _ = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, models.status_code, bad.status_code) == (0, 200, 422)
    assert (nowhere.status_code, no_run.status_code) == (404, 404)
    lines = [json.loads(line) for line in said.decode().splitlines()]
    assert all(line["service"] == "api_edge" for line in lines)
    assert "ready" in [line["event"] for line in lines]
    assert "background job failed" not in [line["event"] for line in lines]
    requests = [(line["path"], line["status"]) for line in lines if line["event"] == "request"]
    assert requests[-4:] == [
        ("/v1/models", 200),
        ("unmatched", 404),
        ("/api/runs/{run_id}/events", 404),
        ("/api/keys", 422),
    ]
    assert not [secret for secret in ("canary", token) if secret in said.decode()]


async def _has_all_servers(client: httpx2.AsyncClient) -> bool:
    try:
        parts = (await client.get("/readyz")).json()["parts"]
    except httpx2.TransportError:
        return False
    return [parts[name] for name in ("rabbitmq", "vault", "postgres")] == ["ok"] * 3


async def test_an_orderly_end_while_everything_is_away(realm: TestRealm) -> None:
    port, nobody = free_port(), free_port()
    env = {
        "LATCHKEY_ENV_FILE": str(realm.env_dir / f"{API_EDGE}.env"),
        "LATCHKEY_HTTP__PORT": str(port),
        "LATCHKEY_AMQP_URL": f"amqp://u:p@127.0.0.1:{nobody}/v",
        "LATCHKEY_POSTGRES_URL": f"postgres://u:p@127.0.0.1:{nobody}/d",
        "LATCHKEY_VAULT_ADDR": f"http://127.0.0.1:{nobody}",
    }
    async with service_process(API_EDGE, env) as process:
        url = f"http://127.0.0.1:{port}"
        async with http_client(base_url=url) as client:
            await until(lambda: _is_up(client))
            ready = await client.get("/readyz")
        process.send_signal(signal.SIGTERM)
        said, _ = await asyncio.wait_for(process.communicate(), 10)
    assert ready.json()["missing"] == ["rabbitmq", "vault", "postgres"]
    assert process.returncode == 0, said.decode()
    assert b"Traceback" not in said


async def _is_up(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx2.TransportError:
        return False


async def test_missing_settings_are_named_and_nothing_else() -> None:
    async with service_process(API_EDGE, {"LATCHKEY_VAULT_SECRET_ID": "s3cr3t-id"}) as process:
        said, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"LATCHKEY_AMQP_URL" in said
    assert b"s3cr3t-id" not in said
