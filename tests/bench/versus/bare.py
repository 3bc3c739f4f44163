"""The pipeline that Latchkey's parts make when they do nothing but pass a question on.

An edge and a worker over aio-pika, a quorum queue, the openai SDK, a usage event: no users, no keys, nothing
recorded. It answers one question: what do these parts reach, used as they come?
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from infra.local.home import Home
from infra.local.ports import ports
from infra.local.processes import processes
from infra.local.servers import servers
from tests.bench.versus.gateway import Gateway
from tests.bench.versus.installing import WORK
from tests.bench.versus.peers import CHAT, JSON
from tests.bench.versus.process import running
from tests.bench.versus.wire import MODEL, PROVIDER_KEY
from tests.gate import free_port
from tests.native import native_home

_MODULE: Final = "tests.bench.versus.bare_{}"


@asynccontextmanager
async def bare(upstream: str) -> AsyncIterator[Gateway]:
    """One edge, one worker, a broker of their own."""
    async with native_home() as home:
        amqp, port = servers(home, ports(home, running=True)).amqp_url, free_port()
        edge = (sys.executable, "-m", _MODULE.format("edge"), amqp, str(port))
        worker = (sys.executable, "-m", _MODULE.format("worker"), amqp, f"{upstream}/v1", PROVIDER_KEY)
        async with (
            running(edge, WORK / "bare_edge.log", {}) as one,
            running(worker, WORK / "bare_worker.log", {}) as other,
        ):
            pids = [("api_edge", one.pid), ("inference", other.pid), *_broker(home)]
            yield Gateway(f"http://127.0.0.1:{port}{CHAT}", JSON, MODEL, lambda: pids)


def _broker(home: Home) -> list[tuple[str, int]]:
    return [(one.part, one.pid) for one in processes(home) if one.part == "rabbitmq"]
