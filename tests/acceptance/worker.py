"""An inference worker behind whose egress guard lies the simulator, in place of the internet.

Names under `PUBLIC` resolve to a public address, all others to loopback. Beyond the guard every connection
leads to the simulator, in plain text. `python -m tests.acceptance.worker`
"""

import os
import ssl
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

import httpcore2

from services.inference.adapters.egress import Address, PinningBackend
from services.inference.app import main
from services.inference.service import Inference, Parts
from shared.runtime.process import run

PUBLIC: Final = ".public.example"
PORT_VARIABLE: Final = "SIMULATOR_PORT"
STALE_AFTER: Final = "STALE_AFTER_S"
"""When this worker gives a silent one up: only to save the tests' time."""
_PUBLIC_ADDRESS: Final = ip_address("93.184.215.14")
_LOOPBACK: Final = ip_address("127.0.0.1")


class _Plain(httpcore2.AsyncNetworkStream):
    """A connection that takes TLS for done."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002
        server_hostname: str | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Internet(httpcore2.AsyncNetworkBackend):
    """Connects whoever got past the guard to the simulator."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,  # noqa: ARG002
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        if host != str(_PUBLIC_ADDRESS):
            raise AssertionError(f"the guard let {host} pass")
        to = (str(_LOOPBACK), self._port, timeout, local_address, socket_options)
        return _Plain(await self._inner.connect_tcp(*to))


async def _resolve(host: str) -> list[Address]:
    return [_PUBLIC_ADDRESS if host.endswith(PUBLIC) else _LOOPBACK]


def outside() -> PinningBackend:
    """The way to callers' addresses: all lead to the simulator."""
    return PinningBackend(_Internet(int(os.environ[PORT_VARIABLE])), _resolve)


def patient(parts: Parts) -> Parts:
    """Those of a worker that gives a silent one up after as long as it was told."""
    return replace(parts, limits=replace(parts.limits, stale_after_s=float(os.environ[STALE_AFTER])))


def patient_inference(parts: Parts) -> Inference:
    return Inference(patient(parts))


if __name__ == "__main__":
    run(partial(main, outside(), patient_inference))
