"""Error answers: OpenAI's, and the same in the shapes of other providers."""

from collections.abc import Callable, Mapping
from typing import Final

import orjson
from starlette.responses import Response

Body = dict[str, object]


class RefusalError(Exception):
    """A request that is answered with OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 (the wire's word)
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body: Body = {"error": {"message": message, "type": type, "param": param, "code": code}}
        self.headers = dict(headers or {})

    def response(self, shape: "Shape | None" = None) -> Response:
        status, body = shape(self) if shape else (self.status, self.body)
        return Response(orjson.dumps(body), status, self.headers, "application/json")


Shape = Callable[[RefusalError], tuple[int, Body]]

_LIMITED_S: Final = 2
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def anthropic(refusal: RefusalError) -> tuple[int, Body]:
    """https://docs.claude.com/en/api/errors"""
    kind = _ANTHROPIC_TYPES.get(refusal.status, "api_error")
    body: Body = {
        "type": "error",
        "error": {"type": kind, "message": refusal.message},
        "request_id": "req_sim",
    }
    return refusal.status, body


def openrouter(refusal: RefusalError) -> tuple[int, Body]:
    """https://openrouter.ai/docs/api-reference/errors"""
    return refusal.status, {"error": {"message": refusal.message, "code": refusal.status}}


def xai(refusal: RefusalError) -> tuple[int, Body]:
    """https://docs.x.ai/docs/debugging"""
    wrong_key = refusal.status == 401  # noqa: PLR2004
    code = "Client specified an invalid argument" if wrong_key else "The caller does not have permission"
    return 400 if wrong_key else refusal.status, {"code": code, "error": refusal.message}


def missing_key() -> RefusalError:
    return RefusalError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    )


def _invalid_key(key: str) -> RefusalError:
    return RefusalError(
        401,
        f"Incorrect API key provided: {key}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def _expired_key() -> RefusalError:
    return RefusalError(401, "API key expired. Please renew the API key.", code="api_key_expired")


def _no_credit() -> RefusalError:
    return RefusalError(
        402,
        "You exceeded your current quota, please check your plan and billing details.",
        type="insufficient_quota",
        code="insufficient_quota",
    )


def _forbidden() -> RefusalError:
    return RefusalError(
        403,
        "You have insufficient permissions for this operation. Missing scopes: model.request.",
        code="missing_scope",
    )


def _rate_limited(retry_after: int | None) -> RefusalError:
    wait = "" if retry_after is None else f" Please try again in {retry_after}s."
    return RefusalError(
        429,
        f"Rate limit reached on requests per min (RPM): Limit 3, Used 3, Requested 1.{wait}",
        type="requests",
        code="rate_limit_exceeded",
        headers={"x-ratelimit-limit-requests": "3", "x-ratelimit-remaining-requests": "0"},
    )


def _failed(status: int) -> RefusalError:
    if status >= 500:  # noqa: PLR2004
        message = "The server had an error while processing your request. Sorry about that!"
        return RefusalError(status, message, type="server_error")
    return RefusalError(status, f"The request was refused with status {status}.")


def for_status(status: int, key: str, retry_after: int | None = None) -> RefusalError:
    """The refusal OpenAI gives with this HTTP status."""
    known = {401: lambda: _invalid_key(key), 402: _no_credit, 403: _forbidden}
    known[429] = lambda: _rate_limited(retry_after)
    refusal = known.get(status, lambda: _failed(status))()
    if retry_after is not None:
        refusal.headers["retry-after"] = str(retry_after)
    return refusal


def for_key(key: str) -> RefusalError | None:
    """The refusal that the key itself asks for everywhere, if any."""
    if "-expired-" in key:
        return _expired_key()
    for mark, status in (("-bad-", 401), ("-broke-", 402), ("-forbidden-", 403)):
        if mark in key:
            return for_status(status, key)
    return None


def for_key_in_chat(key: str) -> RefusalError | None:
    """The refusal that the key itself asks for in chat, if any."""
    if "-limited-" in key:
        return for_status(429, key, _LIMITED_S)
    for mark, status in (("-revoked-", 401), ("-spent-", 402)):
        if mark in key:
            return for_status(status, key)
    return for_key(key)


def missing_version() -> RefusalError:
    return RefusalError(400, "anthropic-version: header is required")


def no_such_model(model: str) -> RefusalError:
    message = f"The model `{model}` does not exist or you do not have access to it."
    return RefusalError(404, message, code="model_not_found")
