"""What a provider's refusal means, as one of our errors. Pure; the table is in the tests."""

from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final

from shared.kernel.errors import (
    BusUnavailableError,
    DatabaseUnavailableError,
    InternalError,
    InvalidRequestError,
    PlatformError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    ServiceUnavailableError,
    SystemKeyExhaustedError,
    UserApiKeyExhaustedError,
    UserApiKeyInvalidError,
    VaultUnavailableError,
)
from shared.kernel.names import KeyService, KeySource

MESSAGE_CHARS_MAX: Final = 500
_RETRY_AFTER_S: Final = 5.0
_RETRY_AFTER_MAX_S: Final = 3600.0

_CLIENT_ERRORS: Final = range(400, 500)
_MAY_MEAN_EXHAUSTED: Final = (400, 402, 403, 429)
_EXHAUSTED: Final = ("insufficient_quota", "billing_not_active", "credit balance is too low")
_KEY_INVALID: Final = ("api_key_invalid", "api key not valid", "incorrect api key", "invalid_api_key")
_FLAGGED: Final = ("flagged", "moderation")

CURABLE: Final = (
    UserApiKeyInvalidError,
    UserApiKeyExhaustedError,
    SystemKeyExhaustedError,
    ProviderRateLimitedError,
)
"""What another credential could cure."""

UNAVAILABLE: Final = (
    VaultUnavailableError,
    BusUnavailableError,
    DatabaseUnavailableError,
    ServiceUnavailableError,
    InternalError,
)
"""A part of ours was away: nobody refused anything."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the provider answered. `words`: its codes and message in lower case; `message` without keys."""

    status: int
    words: str = ""
    message: str = ""
    retry_after_s: float | None = None


class _Meaning(Enum):
    KEY_INVALID = auto()
    KEY_EXHAUSTED = auto()
    RATE_LIMITED = auto()
    BAD_REQUEST = auto()
    TIMED_OUT = auto()
    BROKEN = auto()


_BY_STATUS: Final = {
    401: _Meaning.KEY_INVALID,
    402: _Meaning.KEY_EXHAUSTED,
    403: _Meaning.KEY_INVALID,
    408: _Meaning.TIMED_OUT,
    409: _Meaning.BROKEN,
    429: _Meaning.RATE_LIMITED,
    498: _Meaning.RATE_LIMITED,  # Groq: flex capacity exceeded
}


def error_of(refusal: Refusal, service: KeyService, source: KeySource) -> PlatformError:
    """Return the error to give the client. Only `invalid_request` carries the provider's own words."""
    meaning = _meaning(refusal)
    name = service.value
    if meaning is _Meaning.RATE_LIMITED:
        return ProviderRateLimitedError(
            f"{name} is limiting the rate", service=name, retry_after_s=_patience(refusal)
        )
    if meaning is _Meaning.BAD_REQUEST:
        said = refusal.message[:MESSAGE_CHARS_MAX] or f"{name} refused the request"
        return InvalidRequestError(said, service=name)
    if meaning is _Meaning.TIMED_OUT:
        return ProviderTimeoutError(f"{name} timed out", service=name)
    if meaning is _Meaning.BROKEN:
        return ProviderError(f"{name} failed (HTTP {refusal.status})", service=name)
    return _key_error(meaning, name, source)


def refusal_words(body: object) -> tuple[str, str]:
    """Return (words to tell meanings by, message) of an error body in any of the providers' shapes."""
    error = body[0] if isinstance(body, list) and body else body
    if not isinstance(error, dict):
        return "", ""
    inner = error.get("error", error)
    if not isinstance(inner, dict):
        return f"{error.get('code', '')} {inner}".lower(), str(inner)
    message = str(inner.get("message") or "")
    return " ".join([*_codes(inner), message]).lower(), message


def _codes(error: dict[str, Any]) -> list[str]:
    details = error.get("details")
    found = [error.get(name) for name in ("code", "type", "status")]
    found += [detail.get("reason") for detail in details or () if isinstance(detail, dict)]
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and "flagged_input" in metadata:
        found.append("flagged")
    return [str(code) for code in found if code is not None]


def _meaning(refusal: Refusal) -> _Meaning:
    status, words = refusal.status, refusal.words
    if status in _MAY_MEAN_EXHAUSTED and any(sign in words for sign in _EXHAUSTED):
        return _Meaning.KEY_EXHAUSTED
    if status == HTTPStatus.BAD_REQUEST and any(sign in words for sign in _KEY_INVALID):
        return _Meaning.KEY_INVALID
    if status == HTTPStatus.FORBIDDEN and any(sign in words for sign in _FLAGGED):
        return _Meaning.BAD_REQUEST
    default = _Meaning.BAD_REQUEST if status in _CLIENT_ERRORS else _Meaning.BROKEN
    return _BY_STATUS.get(status, default)


def _patience(refusal: Refusal) -> float:
    asked = refusal.retry_after_s
    return _RETRY_AFTER_S if asked is None else min(max(asked, 0.0), _RETRY_AFTER_MAX_S)


def _key_error(meaning: _Meaning, name: str, source: KeySource) -> PlatformError:
    if not source.is_byok:
        return SystemKeyExhaustedError(
            f"the platform's key for {name} is exhausted",
            service=name,
            detail="OPENROUTER_SYSTEM_KEY_EXHAUSTED" if name == KeyService.OPENROUTER else None,
        )
    if meaning is _Meaning.KEY_EXHAUSTED:
        return UserApiKeyExhaustedError(f"your {name} key has no quota or credit left", service=name)
    return UserApiKeyInvalidError(f"{name} does not accept your key", service=name)
