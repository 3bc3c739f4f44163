"""Around every request: one log line, and a limit on what is read."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final
from uuid import UUID

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api_edge.domain.allowance import Allowance
from services.api_edge.domain.errors import TooLargeError
from services.api_edge.domain.identity import Caller
from shared.runtime.logs import get_logger

_UNMATCHED = "unmatched"
PROBED: Final = ("/healthz", "/readyz")
_DISCARDED_TIMES: Final = 8
"""How many times the limit is read and thrown away, at most."""
_DISCARDING_S: Final = 5.0
_PAGES: Final = ("/docs", "/static-offline-docs")
_BROWSERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_BROWSERS_NO_PAGE: Final = (
    *_BROWSERS,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""Only the API's description is a page, with scripts of its own."""


Note = Callable[[str, str, int, str | None, float], None]
"""Takes method, path template, status, error code and seconds of a request."""


class RequestLog:
    """Logs method, path template, status, time, run, user and key source: no query, header or body.

    Probes are logged at `debug`.
    """

    def __init__(self, app: ASGIApp, note: Note) -> None:
        self._app = app
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"] = dict(scope.get("state") or {})
        state["status"] = 500
        began = time.perf_counter()

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            seconds, path = time.perf_counter() - began, template(scope) or _UNMATCHED
            self._note(scope["method"], path, state["status"], state.get("error_code"), seconds)
            _log(scope, path, seconds)


class AnswerHeaders:
    """Puts on every answer what browsers and caches heed, on a limited one how much is left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        always = _BROWSERS if scope["path"].startswith(_PAGES) else _BROWSERS_NO_PAGE

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                allowance = scope["state"].get("allowance")
                told = allowance.headers() if isinstance(allowance, Allowance) else ()
                message["headers"] = [*message.get("headers", ()), *always, *told]
            await send(message)

        await self._app(scope, receive, send_with)


class BodyLimit:
    """Raises TooLargeError to whoever reads on past `bytes_max`, announced or chunked.

    The rest of such a body is thrown away first, within bounds: a client that still sends would see its
    connection reset and not the answer. One that waits for leave to send (`Expect`) is told at once.
    """

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        announced = _content_length(headers)
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            if announced > self._bytes_max and b"expect" in headers:
                raise TooLargeError
            message = await receive()
            received += len(message.get("body", b""))
            if max(announced, received) > self._bytes_max:
                await _discard(message, receive, bytes_max=_DISCARDED_TIMES * self._bytes_max)
                raise TooLargeError
            return message

        await self._app(scope, receive_limited, send)


async def _discard(message: Message, receive: Receive, *, bytes_max: int) -> None:
    discarded = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARDING_S):
            while message.get("more_body") and discarded <= bytes_max:
                message = await receive()
                discarded += len(message.get("body", b""))


def _content_length(headers: Mapping[bytes, bytes]) -> int:
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() else 0


def template(scope: Scope) -> str | None:
    """Return the path's template once a route was found."""
    path = getattr(scope.get("route"), "path", None)
    return None if path is None else str(path)


def _log(scope: Scope, path: str, seconds: float) -> None:
    state = scope["state"]
    run_id, caller = state.get("run_id"), state.get("caller")
    log = get_logger().debug if path in PROBED else get_logger().info
    log(
        "request",
        method=scope["method"],
        path=path,
        status=state["status"],
        ms=round(seconds * 1000, 1),
        run_id=str(run_id) if isinstance(run_id, UUID) else None,
        user_id=caller.user_id if isinstance(caller, Caller) else None,
        key_source=state.get("key_source"),
        code=state.get("error_code"),
    )
