"""What uvicorn leaves unbounded: how much of a request may be no body, and how long its coming may take; and
the house's form for what it refuses by itself.
"""

import asyncio
from http import HTTPStatus
from typing import ClassVar, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MESSAGES: Final = {
    HTTPStatus.BAD_REQUEST: "The request is no HTTP that can be read.",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to come.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request's headers or trailers are too long.",
}
_HEAD: Final = (
    "HTTP/1.1 {status:d} {status.phrase}\r\nconnection: close\r\ncontent-length: {length}\r\n"
    "content-type: application/problem+json\r\ncontent-language: en\r\n"
    "cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n"
)
_CHUNK_BYTES: Final = 16
"""What a chunk takes beside its data: a size of up to twelve digits, two line ends."""


class BoundedHttp(HttpToolsProtocol):
    """A request that dawdles, or of which more than `head_bytes_max` are no body, is refused and the
    connection closed. The body itself is for the application to bound.

    A head, or the first byte of a new connection, may take `head_s`; a body `body_s`. Trailers are dropped:
    they are no headers (RFC 9110 §6.5).
    """

    head_bytes_max: ClassVar[int] = 64 * 1024
    head_s: ClassVar[float] = 10
    body_s: ClassVar[float] = 30

    _head_bytes: int = 0
    """Of the message that is coming: head, trailers, and what chunks take beyond the usual."""
    _is_head: bool = True
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._allow(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._allow(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > self.head_bytes_max:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_head = True
        self._allow(self.head_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_head = False
        self._allow(self.body_s)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._discount(_CHUNK_BYTES)

    def on_body(self, body: bytes) -> None:
        self._discount(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        # What follows in the same read is not counted: nobody says how much of it that is.
        self._head_bytes = 0
        self._allow(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's, as text
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _discount(self, size: int) -> None:
        self._head_bytes = max(0, self._head_bytes - size)

    def _allow(self, seconds: float | None) -> None:
        """Give what comes next this long, from now."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = None if seconds is None else self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self._is_behind_another():
            self._allow(self.body_s)
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _is_behind_another(self) -> bool:
        """A request on the same connection is at work: it is we who do not read on."""
        if self.pipeline:
            return True
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why, unless an answer has begun or is to come before, and hang up."""
        if self.transport.is_closing():
            return
        is_quiet = self.cycle is None or self.cycle.response_complete or not self.cycle.response_started
        if is_quiet and not self.pipeline:
            self.transport.write(_refusal(status))
        self.transport.close()


def _refusal(status: HTTPStatus) -> bytes:
    """Write a problem as `Problems` does, in English: nothing is known yet of who asks for what."""
    problem = {
        "type": "urn:latchkey:problem:invalid_request",
        "title": "The request is not valid.",
        "status": status,
        "message": _MESSAGES[status],
        "code": "invalid_request",
        "param": None,
        "service": None,
        "run_id": None,
    }
    body = orjson.dumps(problem)
    return _HEAD.format(status=status, length=len(body)).encode() + body
