"""Code → HTTP: the only place. `/v1` answers with OpenAI's error object, the rest with RFC 9457."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import orjson
from starlette.responses import Response

from services.api_edge.domain.errors import (
    UNKNOWN_MODEL,
    BadInputError,
    EdgeClosingError,
    KeyRefusedError,
    MissingCreditsError,
    NotHeardError,
    TooLargeError,
    WrongMethodError,
)
from services.api_edge.domain.messages import Messages
from shared.kernel.errors import (
    InternalError,
    InvalidRequestError,
    NotSentError,
    PlatformError,
    ProviderError,
)
from shared.kernel.money import format_credits


@dataclass(frozen=True, slots=True)
class Rule:
    """`openai_type` is what OpenAI calls it; `mendable`: the user can mend it in their settings.

    `repeatable`: OpenAI's clients, which ask again by themselves after such a status, may do so. Of what may
    have been called already, or would come out the same, they are told to leave it alone.
    """

    status: int
    openai_type: str
    mendable: bool = False
    repeatable: bool = True
    status_v1: int | None = None
    retry_after_s: int | None = None


_INVALID, _SERVER, _QUOTA = "invalid_request_error", "server_error", "insufficient_quota"
_DENIED, _RATE = "permission_error", "rate_limit_error"

RULES: Final[Mapping[str, Rule]] = {
    "user_api_key_required": Rule(403, _DENIED, mendable=True),
    "user_api_key_invalid": Rule(403, _DENIED, mendable=True),
    "user_api_key_exhausted": Rule(402, _QUOTA, mendable=True),
    "consent_required": Rule(403, _DENIED, mendable=True),
    "insufficient_credits": Rule(402, _QUOTA, mendable=True),
    "price_unknown": Rule(422, _INVALID),
    "provider_rate_limited": Rule(429, _RATE, retry_after_s=5),
    "provider_error": Rule(502, _SERVER),
    "provider_timeout": Rule(504, _SERVER, repeatable=False),
    "worker_lost": Rule(502, _SERVER, repeatable=False),
    "run_cancelled": Rule(499, _INVALID),
    "system_key_exhausted": Rule(503, _SERVER, retry_after_s=5),
    "vault_unavailable": Rule(503, _SERVER, retry_after_s=2),
    "bus_unavailable": Rule(503, _SERVER, retry_after_s=2, repeatable=False),
    "database_unavailable": Rule(503, _SERVER, retry_after_s=2),
    "service_unavailable": Rule(503, _SERVER, retry_after_s=2),
    "invalid_request": Rule(422, _INVALID, status_v1=400),
    "rate_limited": Rule(429, _RATE, retry_after_s=1),
    "unauthenticated": Rule(401, "authentication_error"),
    "forbidden": Rule(403, _DENIED),
    "not_found": Rule(404, _INVALID),
    "conflict": Rule(409, _INVALID, repeatable=False),
    "internal_error": Rule(500, _SERVER),
}
_EXCEPTIONS: Final[Mapping[type[PlatformError], int]] = {
    TooLargeError: 413,
    WrongMethodError: 405,
    KeyRefusedError: 401,
}
REFUSALS: Final = frozenset({400, 403, 404, 413, 415, 422})
"""How providers refuse a request that is wrong, and so do we under `/v1`: OpenAI's clients go by it."""
_MODEL_NOT_FOUND: Final = "model_not_found"
_AWAY: Final = {
    "vault_unavailable": "vault",
    "bus_unavailable": "rabbitmq",
    "database_unavailable": "postgres",
}


@dataclass(frozen=True, slots=True)
class Occasion:
    """Where an error is told: the surface, the reader's language, the run it is about."""

    is_v1: bool
    language: str
    run_id: UUID | None = None


class Problems:
    """Writes errors. `settings_url` is where users mend what they can."""

    def __init__(self, messages: Messages, settings_url: str) -> None:
        self._messages = messages
        self._settings_url = settings_url

    def response(
        self, error: PlatformError, occasion: Occasion, headers: Mapping[str, str] | None = None
    ) -> Response:
        body = self.openai(error, occasion) if occasion.is_v1 else self.problem(error, occasion)
        return Response(
            orjson.dumps(body),
            status(error, is_v1=occasion.is_v1),
            {**_headers(error, occasion), **(headers or {})},
            media_type="application/json" if occasion.is_v1 else "application/problem+json",
        )

    def openai(self, error: PlatformError, occasion: Occasion) -> dict[str, Any]:
        """Return OpenAI's error object with our members beside its own.

        Its clients go by `code` and `message` alone: of a request that is wrong, the message is what whoever
        refused it said, and the code a provider's own, as if it had been asked directly; but for a code that
        means something else here.
        """
        members = self._members(error, occasion)
        code = members.pop("provider_code", None) or _openai_code(error)
        if code and code not in RULES:
            members["code"] = code
        if error.code == InvalidRequestError.code and "detail" in members:
            members["message"] = members["detail"]
        return {"error": {"type": _rule(error).openai_type, **members}}

    def problem(self, error: PlatformError, occasion: Occasion) -> dict[str, Any]:
        """Return an RFC 9457 problem."""
        members = self._members(error, occasion)
        return {
            "type": f"urn:latchkey:problem:{members['code']}",
            "title": self._messages.title(members["code"], occasion.language),
            "status": status(error, is_v1=occasion.is_v1),
            **members,
        }

    def _members(self, error: PlatformError, occasion: Occasion) -> dict[str, Any]:
        members: dict[str, Any] = {
            "message": self._messages.message(error, occasion.language),
            "code": _code(error),
            "param": _param(error),
            "service": error.service or _AWAY.get(error.code),
            "run_id": str(occasion.run_id) if occasion.run_id else None,
        }
        if detail := _detail(error):
            members["detail"] = detail
        if error.refused and error.refused.code:
            members["provider_code"] = error.refused.code
        if isinstance(error, KeyRefusedError):
            members["key_status"] = error.key_status
        if isinstance(error, MissingCreditsError):
            members["missing"] = format_credits(error.missing_micros)
            members["missing_micros"] = error.missing_micros
        if _rule(error).mendable:
            members["settings_url"] = self._settings_url
            if help_url := self._messages.help_urls.get(members["service"] or ""):
                members["help_url"] = help_url
        if (wait_s := _retry_after_s(error)) is not None:
            members["retry_after_s"] = wait_s
        return members


def status(error: PlatformError, *, is_v1: bool) -> int:
    if own := _EXCEPTIONS.get(type(error)):
        return own
    rule = _rule(error)
    return _status_v1(error, rule) if is_v1 else rule.status


def _status_v1(error: PlatformError, rule: Rule) -> int:
    if error.code == InvalidRequestError.code and error.refused and error.refused.status in REFUSALS:
        return error.refused.status
    if _openai_code(error) == _MODEL_NOT_FOUND:
        return HTTPStatus.NOT_FOUND
    return rule.status_v1 or rule.status


def _openai_code(error: PlatformError) -> str | None:
    """Return what OpenAI calls it, where its clients go by that."""
    return _MODEL_NOT_FOUND if isinstance(error, BadInputError) and error.reason == UNKNOWN_MODEL else None


def _param(error: PlatformError) -> str | None:
    if isinstance(error, BadInputError):
        return error.param
    return error.refused.param if error.refused else None


def _code(error: PlatformError) -> str:
    return error.code if error.code in RULES else InternalError.code


def _rule(error: PlatformError) -> Rule:
    return RULES[_code(error)]


def _detail(error: PlatformError) -> str | None:
    """What a service of ours says beside the code, in English; the edge's own reasons are the message."""
    if isinstance(error, BadInputError | InternalError):
        return error.detail
    said = error.message if error.message != error.code.replace("_", " ") else None
    return error.detail or said


def _retry_after_s(error: PlatformError) -> int | None:
    """Return whole seconds, one at least; None when trying again would not help."""
    wait_s = error.retry_after_s or _rule(error).retry_after_s
    return None if wait_s is None else max(1, math.ceil(wait_s))


def _headers(error: PlatformError, occasion: Occasion) -> dict[str, str]:
    headers = {"Content-Language": occasion.language}
    if occasion.run_id is not None:
        headers["Latchkey-Run-Id"] = str(occasion.run_id)
    if occasion.is_v1:
        headers |= _for_openai_clients(error, occasion)
    if isinstance(error, TooLargeError):
        headers["Connection"] = "close"  # the rest of the body is not waited for
    if (wait_s := _retry_after_s(error)) is not None:
        headers["Retry-After"] = str(wait_s)
    if status(error, is_v1=occasion.is_v1) == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = 'Bearer realm="latchkey"'
    return headers


def _is_repeatable(error: PlatformError) -> bool:
    if isinstance(error, NotSentError):
        return True
    if error.detail == ProviderError.TOO_LONG:
        return False
    return _rule(error).repeatable and not isinstance(error, NotHeardError | EdgeClosingError)


def _for_openai_clients(error: PlatformError, occasion: Occasion) -> dict[str, str]:
    """Return what OpenAI's own clients look for. Source: `_base_client.py` of the openai package."""
    headers = {} if occasion.run_id is None else {"X-Request-Id": str(occasion.run_id)}
    return headers if _is_repeatable(error) else {**headers, "X-Should-Retry": "false"}
