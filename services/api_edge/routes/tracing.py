"""Around every request: a server span, in the client's trace or one of its own."""

from typing import Final
from uuid import UUID

from opentelemetry.trace import Span, SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api_edge.routes.middleware import PROBED, template
from shared.runtime.tracing import TRACEPARENT, Tracing, fail

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_ERRORS_FROM: Final = 500


class Traced:
    """Tells method, route and status; of the request's path, query, headers and body nothing."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBED:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
            await send(message)

        attributes = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
        with self._tracing.span_of(_traceparent(scope), method, SpanKind.SERVER, attributes) as span:
            try:
                await self._app(scope, receive, send_noting)
            finally:
                _tell(span, method, scope)


def _traceparent(scope: Scope) -> str | None:
    """Return the client's, if it sent exactly one."""
    sent = [value for name, value in scope["headers"] if name == TRACEPARENT.encode()]
    return sent[0].decode("latin-1") if len(sent) == 1 else None


def _tell(span: Span, method: str, scope: Scope) -> None:
    state, route = scope.get("state") or {}, template(scope)
    if route is not None:
        span.set_attribute("http.route", route)
        span.update_name(f"{method} {route}")
    if isinstance(state.get("run_id"), UUID):
        span.set_attribute("latchkey.run_id", str(state["run_id"]))
    if state.get("key_source") is not None:
        span.set_attribute("latchkey.key_source", str(state["key_source"]))
    status, code = state.get("status", _ERRORS_FROM), state.get("error_code")
    if status >= _ERRORS_FROM:
        fail(span, code or str(status))
    elif code is not None:
        span.set_attribute("error.type", code)
