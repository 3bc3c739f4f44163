"""Sending an answer, with the pauses, stalls and cuts that were asked for. Plain ASGI: it is the hot path."""

import asyncio
import uuid
from collections.abc import Iterable
from itertools import islice

import orjson
from starlette.types import Message, Receive, Send

from infra.simulator.requests import ChatRequest
from infra.simulator.shapes import Shape

_Headers = list[tuple[bytes, bytes]]
_STREAM_HEADERS: _Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]
_GARBAGE = b"<html><body>upstream connect error or disconnect/reset before headers</body></html>"


def request_id() -> str:
    """A name for one call, as OpenAI gives it in `x-request-id`."""
    return f"req_{uuid.uuid4().hex}"


class ClientGoneError(Exception):
    """The client closed the connection before the answer's end."""


class SocketCutError(Exception):
    """Raised inside the application: the server closes the socket without ending the response."""


class Line:
    """The connection to one client."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def pause(self, milliseconds: int | None) -> None:
        """Wait, None being for ever. Raises ClientGoneError as soon as the client leaves."""
        if milliseconds == 0:
            return
        seconds = None if milliseconds is None else milliseconds / 1000
        try:
            async with asyncio.timeout(seconds):
                await self._until_gone()
        except TimeoutError:
            return
        raise ClientGoneError

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: _Headers) -> None:
        named = [*headers, (b"x-request-id", request_id().encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": named})

    async def write(self, body: bytes, *, more: bool = True) -> None:
        message: Message = {"type": "http.response.body", "body": body, "more_body": more}
        await self._send(message)


async def deliver_plain(line: Line, request: ChatRequest, shape: Shape) -> None:
    """Send a plain answer."""
    asked = request.directives
    await line.pause(asked.first_token_ms)
    body = _GARBAGE if asked.garbage else orjson.dumps(shape.whole())
    kind = b"text/html" if asked.garbage else b"application/json"
    await line.start(200, [(b"content-type", kind), (b"content-length", b"%d" % len(body))])
    if asked.stall_after is None and asked.cut_after is None:
        await line.write(body, more=False)
        return
    await line.write(body[: len(body) // 2])
    await _break_off(line, stall=asked.cut_after is None)


async def deliver_stream(line: Line, request: ChatRequest, shape: Shape) -> None:
    """Send an answer as server-sent events."""
    asked = request.directives
    await line.start(200, _STREAM_HEADERS)
    await line.pause(asked.first_token_ms)
    if asked.garbage:
        await line.write(b"data: " + _GARBAGE + b"\n\n", more=False)
        return
    ends = [end for end in (asked.stall_after, asked.cut_after) if end is not None]
    await line.write(shape.opening())
    await _send_content(line, islice(shape.content(), min(ends, default=None)), asked.chunk_ms)
    if ends:
        await _break_off(line, stall=asked.cut_after is None)
    for chunk in shape.closing():
        await line.write(chunk)
    await line.write(b"", more=False)


async def _send_content(line: Line, chunks: Iterable[bytes], gap_ms: int) -> None:
    for index, chunk in enumerate(chunks):
        await line.pause(gap_ms if index else 0)
        await line.write(chunk)


async def _break_off(line: Line, *, stall: bool) -> None:
    if stall:
        await line.pause(None)
    raise SocketCutError
