"""A gateway under test, however it is started."""

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from tests.bench.cpu import tree
from tests.bench.versus.client import Client
from tests.bench.versus.wire import Kind, question

DIRECT: Final = "direct"
LATCHKEY: Final = "Latchkey"
LITELLM: Final = "LiteLLM, 1 worker"
LITELLM_2: Final = "LiteLLM, 2 workers"
PORTKEY: Final = "Portkey"
BARE: Final = "bare pipeline"
_READY_S: Final = 240
_POLL_S: Final = 0.2


@dataclass(frozen=True)
class Gateway:
    """Where it is asked and with which headers; `pids` are its processes, each with its part's name."""

    url: str
    head: Mapping[str, str]
    model: str
    pids: Callable[[], list[tuple[str, int]]]


Opening = Callable[[str], AbstractAsyncContextManager[Gateway]]
"""Starts a gateway that asks the upstream at this address (without `/v1`)."""


def family(part: str, process: Process) -> Callable[[], list[tuple[str, int]]]:
    """All processes of a gateway that has one part."""
    return lambda: [(part, pid) for pid in tree(process.pid)]


async def until_ready(gateway: Gateway) -> None:
    """Wait until it answers rightly. Raises TimeoutError saying what it did last."""
    deadline = time.monotonic() + _READY_S
    while fault := await _fault_of(gateway):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{gateway.url} is not ready: {fault}")
        await asyncio.sleep(_POLL_S)


async def _fault_of(gateway: Gateway) -> str:
    body = question(Kind.PLAIN, gateway.model)
    client = Client(gateway.url, dict(gateway.head), body, Kind.PLAIN)
    try:
        return (await client.ask()).fault
    finally:
        client.close()
