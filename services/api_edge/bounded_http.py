"""What uvicorn leaves unbounded: the length of a request's head, and the time that its coming takes; and the
house's form for what it refuses by itself.
"""

import asyncio
from http import HTTPStatus
from typing import ClassVar, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MESSAGES: Final = {
    HTTPStatus.BAD_REQUEST: "The request is no HTTP that can be read.",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to come.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request's head is too long.",
}
_HEAD: Final = (
    "HTTP/1.1 {status:d} {status.phrase}\r\nconnection: close\r\ncontent-length: {length}\r\n"
    "content-type: application/problem+json\r\ncontent-language: en\r\n"
    "cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n"
)


class BoundedHttp(HttpToolsProtocol):
    """A head of more than `head_bytes_max`, or a request that dawdles, is refused and the connection closed.

    A head, or the first byte of a new connection, may take `head_s`; a body `body_s`.
    """

    head_bytes_max: ClassVar[int] = 64 * 1024
    head_s: ClassVar[float] = 10
    body_s: ClassVar[float] = 30

    _head_bytes: int | None = 0
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._allow(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._allow(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.head_bytes_max:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._allow(self.head_s)

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._allow(self.body_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._allow(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's, as text
        self._refuse(HTTPStatus.BAD_REQUEST)

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
        """Say why, unless an answer has begun, and hang up."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
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
