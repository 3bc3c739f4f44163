"""One client's connection: it asks, reads the whole answer and says whether it was right."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from tests.bench.versus.checking import fault_of
from tests.bench.versus.wire import Kind

_FIRST: Final = b"data: {"
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class Asked:
    """One question: ms until the first event and until the end, and what was wrong ("" if nothing)."""

    first_ms: float
    took_ms: float
    fault: str


class Connection(asyncio.Protocol):
    """Reads responses, and notes the moment of the first event as the bytes come in."""

    def __init__(self) -> None:
        self.is_open = True
        self.status = 0
        self.first_at = 0.0
        self._parts: list[bytes] = []
        self._whole: asyncio.Future[bytes] | None = None

    def exchange(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a request; the future is the response's body."""
        self.first_at, self._parts = 0.0, []
        self._parser = httptools.HttpResponseParser(self)
        self._whole = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._whole

    def close(self) -> None:
        self.is_open = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own, which inherits from nothing

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._whole is not None and not self._whole.done():
            self._whole.set_exception(exc or EOFError())

    def on_body(self, part: bytes) -> None:
        if not self.first_at and _FIRST in part:
            self.first_at = time.perf_counter()
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.close()
        if self._whole is not None and not self._whole.done():
            self._whole.set_result(b"".join(self._parts))


class Client:
    """Asks one thing after another on a connection that stays open as long as the gateway lets it."""

    def __init__(self, url: str, head: dict[str, str], body: bytes, kind: Kind) -> None:
        address = urlsplit(url)
        self._place = (str(address.hostname), address.port or 80)
        lines = {"Host": address.netloc, **head, "Content-Length": str(len(body))}
        told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._request = f"POST {address.path} HTTP/1.1\r\n{told}\r\n".encode() + body
        self._kind = kind
        self._connection: Connection | None = None

    async def ask(self) -> Asked:
        first_at, start = 0.0, time.perf_counter()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                connection = await self._connected()
                body = await connection.exchange(self._request)
            end, first_at = time.perf_counter(), connection.first_at
            fault = fault_of(self._kind, connection.status, body)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            end, fault = time.perf_counter(), type(error).__name__
        return Asked(((first_at or end) - start) * 1000, (end - start) * 1000, fault)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    async def _connected(self) -> Connection:
        if self._connection is None or not self._connection.is_open:
            loop = asyncio.get_running_loop()
            _, self._connection = await loop.create_connection(Connection, *self._place)
        return self._connection
