"""A TCP gate before a server: open, shut (refuses) or stuck (accepts and says nothing)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Gate:
    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._passages: set[asyncio.Task[None]] = set()
        self.port = 0
        self.is_stuck = False

    async def open(self) -> None:
        self.is_stuck = False
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Refuse newcomers and drop who is inside."""
        if self._server is not None:
            self._server.close()
        for passage in self._passages:
            passage.cancel()
        await asyncio.gather(*self._passages, return_exceptions=True)

    def before(self, url: str) -> str:
        """Return the URL of the server behind, through the gate."""
        parts = urlsplit(url)
        login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{self.port}"))

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passage = asyncio.current_task()
        assert passage is not None
        self._passages.add(passage)
        try:
            with suppress(OSError, asyncio.CancelledError):
                there = await asyncio.open_connection(*self._target)
                await asyncio.gather(self._carry(reader, there[1]), self._carry(there[0], writer))
        finally:
            self._passages.discard(passage)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                while self.is_stuck:
                    await asyncio.sleep(0.05)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def gate_before(url: str) -> AsyncIterator[Gate]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    gate = Gate(parts.hostname, parts.port)
    await gate.open()
    try:
        yield gate
    finally:
        await gate.shut()
