"""Latchkey itself: the native stack under its process manager, a user with a stored key, metering on."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from infra.bootstrap.envfiles import read_env
from infra.local.home import Home
from infra.local.processes import processes
from tests.bench.versus.gateway import Gateway, Opening
from tests.bench.versus.peers import CHAT, JSON
from tests.bench.versus.wire import MODEL, PROVIDER_KEY
from tests.loopback import http_client
from tests.native import native_home

_SETTINGS: Final = {
    "LATCHKEY_LIMITS__RUNS_PER_MINUTE": "0",
    "LATCHKEY_LIMITS__REQUESTS_PER_MINUTE": "0",
    "LATCHKEY_LOG_LEVEL": os.environ.get("LATCHKEY_LOG_LEVEL", "INFO"),
}


def latchkey(workers: int) -> Opening:
    """A stack of its own with so many inference workers and one process of every other service."""

    @asynccontextmanager
    async def opening(upstream: str) -> AsyncIterator[Gateway]:
        settings = {**_SETTINGS, "LATCHKEY_PROVIDERS__OPENAI__BASE_URL": f"{upstream}/v1"}
        async with native_home("--inference", str(workers), **settings) as home:
            env = read_env(home.dev_env)
            url, auth = env["LATCHKEY_URL"], {"Authorization": f"Bearer {env['LATCHKEY_USER_TOKEN']}"}
            await _store_key(url, auth)
            yield Gateway(f"{url}{CHAT}", {**JSON, **auth}, f"openai/{MODEL}", lambda: _pids(home))

    return opening


async def _store_key(url: str, auth: dict[str, str]) -> None:
    body = {"service": "openai", "api_key": PROVIDER_KEY}
    async with http_client(base_url=url, headers=auth) as client:
        (await client.post("/api/keys", json=body)).raise_for_status()


def _pids(home: Home) -> list[tuple[str, int]]:
    """Every process of the stack, by its part; workers together."""
    return [(one.part.partition("-")[0], one.pid) for one in processes(home)]
