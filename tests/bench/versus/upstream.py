"""A provider that costs next to nothing: `python -m tests.bench.versus.upstream PORT`.

The project's simulator takes directives, counts and can fail: it would be the bottleneck of this benchmark.
"""

import asyncio
import sys
from typing import Final, cast

import httptools
import uvloop

from tests.bench.versus.wire import models_answer, plain_answer, stream_answer


def _whole(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _framed(part: bytes) -> bytes:
    return f"{len(part):x}\r\n".encode() + part + b"\r\n"


_MODELS: Final = _whole(models_answer())
_PLAIN: Final = _whole(plain_answer())
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_EVENTS: Final = tuple(map(_framed, stream_answer()))
_END: Final = b"0\r\n\r\n"


class Conversation(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own, which inherits from nothing

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() == b"GET":
            self._transport.write(_MODELS)
        elif b'"stream":true' in self._body.replace(b": ", b":"):
            self._answering = asyncio.ensure_future(self._stream())
        else:
            self._transport.write(_PLAIN)

    async def _stream(self) -> None:
        """Each event is a write of its own, as a provider's are, as fast as they can be sent."""
        self._transport.write(_STREAM_HEAD)
        for event in _EVENTS:
            self._transport.write(event)
            await asyncio.sleep(0)
        self._transport.write(_END)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Conversation, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
