"""The other gateways, and none: each alone, on a port of its own."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from tests.bench.versus.gateway import Gateway, Opening, family
from tests.bench.versus.installing import LITELLM, NODE, PORTKEY, WORK
from tests.bench.versus.process import running
from tests.bench.versus.wire import MODEL, PROVIDER_KEY
from tests.gate import free_port

CHAT: Final = "/v1/chat/completions"
JSON: Final = {"Content-Type": "application/json"}
_MASTER_KEY: Final = "sk-versus-master-key"
_LITELLM_ENV: Final = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would else fetch its prices
    "PYTHONWARNINGS": "ignore",
}
_PATIENT: Final = ("--timeout_worker_healthcheck", "60")
"""A worker that takes more than five seconds to start is else killed, again and again."""


@asynccontextmanager
async def direct(upstream: str) -> AsyncIterator[Gateway]:
    """No gateway: what load generator and upstream can do by themselves."""
    yield Gateway(upstream + CHAT, _bearer(PROVIDER_KEY), MODEL, list)


def litellm(workers: int) -> Opening:
    """LiteLLM's proxy without a database, with its own key for its users and ours for the provider."""

    @asynccontextmanager
    async def opening(upstream: str) -> AsyncIterator[Gateway]:
        port, config = free_port(), WORK / "litellm.json"  # JSON is YAML
        config.write_text(json.dumps(_litellm_config(upstream)))
        where = ("--config", str(config), "--host", "127.0.0.1", "--port", str(port))
        how = ("--num_workers", str(workers), "--telemetry", "False", *_PATIENT)
        async with running((LITELLM, *where, *how), _log("litellm"), _LITELLM_ENV) as process:
            url = f"http://127.0.0.1:{port}{CHAT}"
            yield Gateway(url, _bearer(_MASTER_KEY), MODEL, family("litellm", process))

    return opening


def portkey(upstream: str) -> AbstractAsyncContextManager[Gateway]:
    return _portkey(upstream, free_port())


@asynccontextmanager
async def _portkey(upstream: str, port: int) -> AsyncIterator[Gateway]:
    head = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{upstream}/v1"}
    command = (NODE, PORTKEY, "--headless", f"--port={port}")
    async with running(command, _log("portkey"), {"NODE_ENV": "production"}) as process:
        url = f"http://127.0.0.1:{port}{CHAT}"
        yield Gateway(url, {**_bearer(PROVIDER_KEY), **head}, MODEL, family("portkey", process))


def _litellm_config(upstream: str) -> dict[str, object]:
    provider = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": PROVIDER_KEY}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": provider}],
        "general_settings": {"master_key": _MASTER_KEY},
    }


def _bearer(key: str) -> dict[str, str]:
    return {**JSON, "Authorization": f"Bearer {key}"}


def _log(name: str) -> Path:
    return WORK / f"{name}.log"
