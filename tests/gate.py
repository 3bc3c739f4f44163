"""A TCP gate before a server, so that the server can be away in every way the tests get it."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

from tests.passing import PIECE, by_way_of, first_of

# Below the range that systems hand out to outgoing connections: what ended finds its port free again.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000


_SHARES = 4
"""As many test processes as run at once, and one."""


def free_port() -> int:
    """Return a port that nobody listens on, and that nobody else among the tests is given."""
    while True:
        port = next(_own_ports())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@cache
def _own_ports() -> Iterator[int]:
    """This test process' own share, each in turn: who was given one may not listen on it yet."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (_LAST_PORT - _FIRST_PORT) // _SHARES
    first = _FIRST_PORT + number % _SHARES * size
    return islice(cycle(range(first, first + size)), random.randrange(size), None)


class Gate:
    """Passes bytes on to a server. Closed it refuses and cuts; frozen it accepts and stalls.

    `swallowing`: of so many connections to come, no byte ever passes.
    """

    def __init__(self, url: str) -> None:
        server = urlsplit(url)
        if server.hostname is None or server.port is None:
            raise ValueError("a gate needs the host and port of its server")
        self._server = (server.hostname, server.port)
        self._port = free_port()
        self._listener: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._visits: set[asyncio.Task[None]] = set()
        self._visitors: set[asyncio.StreamWriter] = set()
        self._lost: list[asyncio.StreamWriter] = []
        self._is_losing = False
        self.swallowing = 0

    async def open(self) -> None:
        """Let everything through, from now on or again."""
        self._flowing.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._visit, "127.0.0.1", self._port)

    async def close(self) -> None:
        """Refuse new connections and cut the old ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        for far_writer in self._lost:
            far_writer.transport.abort()
        self._lost.clear()

    async def lose(self) -> None:
        """Cut what is connected, and let the server not know: it holds its end until this gate is closed."""
        self._is_losing = True
        for visit in list(self._visits):
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        self._is_losing = False

    def freeze(self) -> None:
        """Accept connections but let no byte through."""
        self._flowing.clear()

    def say(self, words: bytes) -> None:
        """Tell everybody something as if the server had, while it says nothing itself."""
        for visitor in self._visitors:
            visitor.write(words)

    def before(self, url: str) -> str:
        """Return the server's URL by way of this gate."""
        return by_way_of(self._port, url)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.current_task()
        if visit is None:
            return
        self._visits.add(visit)
        self._visitors.add(writer)
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a cut connection is what gates are for
        finally:
            self._visits.discard(visit)
            self._visitors.discard(writer)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.swallowing:
            self.swallowing -= 1
            await asyncio.Event().wait()
        await self._flowing.wait()
        far_reader, far_writer = await asyncio.open_connection(*self._server)
        try:
            await first_of(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            if self._is_losing:
                self._lost.append(far_writer)
            else:
                far_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE):
            await self._flowing.wait()
            sink.write(piece)
            await sink.drain()


@asynccontextmanager
async def open_gate(url: str) -> AsyncIterator[Gate]:
    """A gate before the server of `url`, closed at the end."""
    gate = Gate(url)
    await gate.open()
    try:
        yield gate
    finally:
        await gate.close()


@dataclass(frozen=True)
class Gates:
    """One before each server."""

    rabbitmq: Gate
    vault: Gate
    postgres: Gate

    def before(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a service's settings, with its servers by way of the gates."""
        return {
            **settings,
            "amqp_url": self.rabbitmq.before(settings["amqp_url"]),
            "vault_addr": self.vault.before(settings["vault_addr"]),
            "postgres_url": self.postgres.before(settings["postgres_url"]),
        }


@asynccontextmanager
async def open_gates(settings: Mapping[str, Any]) -> AsyncIterator[Gates]:
    """Gates before the servers that a service's settings name, closed at the end."""
    async with (
        open_gate(settings["amqp_url"]) as rabbitmq,
        open_gate(settings["vault_addr"]) as vault,
        open_gate(settings["postgres_url"]) as postgres,
    ):
        yield Gates(rabbitmq, vault, postgres)
