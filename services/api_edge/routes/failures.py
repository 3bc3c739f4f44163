"""Every error, ours or the framework's, leaves through `Problems`. Input is never echoed."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from services.api_edge.domain.errors import BadInputError, OverLimitError, TooLargeError, WrongMethodError
from services.api_edge.domain.language import preferred
from services.api_edge.problems import Occasion, Problems
from shared.kernel.errors import InternalError, NotFoundError, PlatformError, RunCancelledError

KEY_SOURCE_HEADER = "Latchkey-Key-Source"
_FRAMEWORK: Final[Mapping[int, Callable[[], PlatformError]]] = {
    404: partial(NotFoundError, detail="no_such_endpoint"),
    405: WrongMethodError,
    413: TooLargeError,
}
_CONVERTOR: Final = re.compile(r":\w+\}")
_CLIENT_ERRORS = range(400, 500)


def occasion_of(request: Request) -> Occasion:
    return Occasion(
        is_v1=request.url.path.startswith("/v1/"),
        language=preferred(request.headers.get("accept-language")),
        run_id=getattr(request.state, "run_id", None),
    )


def install_failures(app: FastAPI, problems: Problems) -> None:
    """Replace the framework's own error answers."""

    def answer(request: Request, error: PlatformError, headers: Mapping[str, str] | None = None) -> Response:
        request.state.error_code = error.code
        if isinstance(error, OverLimitError):
            request.state.allowance = error.allowance
        return problems.response(error, occasion_of(request), {**_key_source(request), **(headers or {})})

    async def on_platform_error(request: Request, error: Exception) -> Response:
        return answer(request, error if isinstance(error, PlatformError) else InternalError())

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        allowed = _allowed(request) if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else {}
        return answer(request, _platform_error(error.status_code), {**(error.headers or {}), **allowed})

    async def on_invalid(request: Request, _error: Exception) -> Response:
        return answer(request, BadInputError("unreadable"))

    async def on_client_gone(request: Request, _error: Exception) -> Response:
        return answer(request, RunCancelledError("the client went away"))

    app.add_exception_handler(PlatformError, on_platform_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ClientDisconnect, on_client_gone)
    app.add_exception_handler(Exception, on_platform_error)


def _platform_error(status: int) -> PlatformError:
    if known := _FRAMEWORK.get(status):
        return known()
    return BadInputError("unreadable") if status in _CLIENT_ERRORS else InternalError()


def _allowed(request: Request) -> dict[str, str]:
    """Every method that the path has, and not only its first route's (RFC 9110 §10.2.1)."""
    described = request.app.openapi()["paths"]
    template = _CONVERTOR.sub("}", getattr(request.scope.get("route"), "path", ""))
    methods = described.get(request.url.path) or described.get(template) or ()
    return {"Allow": ", ".join(sorted(map(str.upper, methods)))} if methods else {}


def _key_source(request: Request) -> dict[str, str]:
    source = getattr(request.state, "key_source", None)
    return {} if source is None else {KEY_SOURCE_HEADER: source}
