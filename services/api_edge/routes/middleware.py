"""Around every request: one log line, and a limit on what is read."""

import time
from uuid import UUID

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api_edge.domain.errors import TooLargeError
from services.api_edge.domain.identity import Caller
from shared.runtime.logs import get_logger

_UNMATCHED = "unmatched"
_PROBED = ("/healthz", "/readyz")


class RequestLog:
    """Logs method, path template, status, time, run, user and key source: no query, header or body.

    Probes are logged at `debug`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
            _log(scope, began)


class BodyLimit:
    """Raises TooLargeError to whoever reads on past `bytes_max`, announced or chunked."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        announced = _content_length(scope)
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            if announced > self._bytes_max:
                raise TooLargeError
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._bytes_max:
                raise TooLargeError
            return message

        await self._app(scope, receive_limited, send)


def _content_length(scope: Scope) -> int:
    for name, value in scope.get("headers", ()):
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _log(scope: Scope, began: float) -> None:
    state = scope["state"]
    run_id, caller = state.get("run_id"), state.get("caller")
    path = getattr(scope.get("route"), "path", _UNMATCHED)
    log = get_logger().debug if path in _PROBED else get_logger().info
    log(
        "request",
        method=scope["method"],
        path=path,
        status=state["status"],
        ms=round((time.perf_counter() - began) * 1000, 1),
        run_id=str(run_id) if isinstance(run_id, UUID) else None,
        user_id=caller.user_id if isinstance(caller, Caller) else None,
        key_source=state.get("key_source"),
        code=state.get("error_code"),
    )
