"""What a provider's refusal means, as one of our errors. Pure; the tables are in the tests."""

import math
import re
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
_SHORT_S: Final = 60.0
"""How long a platform key rests that had too little credit, or no leave, for one request: what one user asks
for must not take it from everybody for good.
"""
_SAID_CHARS_MAX: Final = 500
_DETAILS_MAX: Final = 20

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
    """What the provider answered.

    `codes`: its codes in lower case; `said`: how its message begins, in lower case; `message`: the words that
    may be quoted. `retry_after_s`: its wish.
    """

    status: int
    codes: frozenset[str] = frozenset()
    said: str = ""
    message: str = ""
    retry_after_s: float | None = None

    def shows(self, *signs: str) -> bool:
        """Tell whether a sign is one of the codes, or a pattern that the message begins with.

        Nowhere else: what a message quotes is its caller's, and could put a key of the platform out of use.
        """
        return any(sign in self.codes or re.match(sign, self.said) for sign in signs)


class Meaning(Enum):
    KEY_INVALID = auto()
    KEY_EXPIRED = auto()
    KEY_EXHAUSTED = auto()
    KEY_SHORT = auto()
    RATE_LIMITED = auto()
    BAD_REQUEST = auto()
    TIMED_OUT = auto()
    BROKEN = auto()


_BY_STATUS: Final = {
    401: Meaning.KEY_INVALID,
    402: Meaning.KEY_EXHAUSTED,
    403: Meaning.KEY_INVALID,
    408: Meaning.TIMED_OUT,
    409: Meaning.BROKEN,
    429: Meaning.RATE_LIMITED,
    498: Meaning.RATE_LIMITED,  # Groq: flex capacity exceeded
}
_CLIENT_ERRORS: Final = range(400, 500)
_FLAGGED: Final = "flagged"
_MODERATED: Final = ("input was flagged", "requires moderation")  # OpenRouter

# Where the status alone would mislead. The first that shows counts.
_SIGNS: Final[tuple[tuple[Meaning, frozenset[int], tuple[str, ...]], ...]] = (
    (
        Meaning.KEY_SHORT,  # OpenRouter: too little credit for this one request
        frozenset({402}),
        ("this request requires more credits, or fewer max_tokens",),
    ),
    (
        Meaning.KEY_EXHAUSTED,
        frozenset({400, 402, 403, 429}),
        (
            "insufficient_quota",  # OpenAI: 429
            "billing_not_active",
            "billing_hard_limit_reached",
            "billing_error",  # Anthropic; its empty account is a 400, told by the message alone
            "your credit balance is too low",
            "you have reached your specified api usage limits",
            "blocked_api_access",  # Groq: the spend limit
            r"your team \S+ has either used all available credits",  # xAI: 403 or 429
            r"your newly created teams? doesn't have any credits",
            "personal-team-blocked:spending-limit",
            "key limit exceeded",  # OpenRouter: 403, the key's own limit
            "insufficient_funds",  # Vercel
            "customer_verification_required",
        ),
    ),
    (
        Meaning.KEY_EXPIRED,
        frozenset({400, 401, 403}),
        (
            "api key expired",  # Gemini: 400, "API key expired. Please renew the API key."
            "api key has expired",
            "your api key has expired",
            "this api key has expired",
            "api_key_expired",
            "expired_api_key",
            "expired_key",  # LiteLLM
            "authentication error - expired key",
        ),
    ),
    (
        Meaning.KEY_INVALID,
        frozenset({400}),
        (
            "api_key_invalid",  # Gemini
            "api key not valid",
            "incorrect api key provided",  # xAI
            "invalid_api_key",
            "organization_restricted",  # Groq
        ),
    ),
    (
        Meaning.BAD_REQUEST,  # what was asked for is not for this key: the key is good
        frozenset({403}),
        (
            "model_not_found",
            "model_permission_blocked_org",
            "model_permission_blocked_project",
            "free_tier_model_not_available",
            "you do not have permission to access the file",  # Gemini
            _FLAGGED,
        ),
    ),
    (
        Meaning.BROKEN,  # it does not serve where our workers are
        frozenset({400, 403}),
        ("unsupported_country_region_territory", "user location is not supported"),
    ),
)


def meaning_of(refusal: Refusal) -> Meaning:
    for meaning, statuses, signs in _SIGNS:
        if refusal.status in statuses and refusal.shows(*signs):
            return meaning
    default = Meaning.BAD_REQUEST if refusal.status in _CLIENT_ERRORS else Meaning.BROKEN
    return _BY_STATUS.get(refusal.status, default)


def error_of(refusal: Refusal, service: KeyService, source: KeySource) -> PlatformError:
    """Return the error to give the client. Only `invalid_request` carries the provider's own words."""
    meaning = meaning_of(refusal)
    name = service.value
    if meaning is Meaning.RATE_LIMITED:
        return ProviderRateLimitedError(
            f"{name} is limiting the rate", service=name, retry_after_s=_patience(refusal)
        )
    if meaning is Meaning.BAD_REQUEST:
        said = refusal.message[:MESSAGE_CHARS_MAX] or f"{name} refused the request"
        return InvalidRequestError(said, service=name)
    if meaning is Meaning.TIMED_OUT:
        return ProviderTimeoutError(f"{name} timed out", service=name)
    if meaning is Meaning.BROKEN:
        return ProviderError(f"{name} failed (HTTP {refusal.status})", service=name)
    return _key_error(meaning, service, source, refusal.status)


def refusal_of(status: int, body: object, retry_after_s: float | None = None) -> Refusal:
    """Read an error body in any of the providers' shapes.

    `{"error": {…}}` (OpenAI, Groq, OpenRouter, Vercel; Anthropic's with a `type` beside it), the same in a
    list (Gemini), `{"code": "…", "error": "…"}` (xAI), `{"message": "…"}`.
    """
    outer = body[0] if isinstance(body, list) and body else body
    if not isinstance(outer, dict):
        return Refusal(status, retry_after_s=retry_after_s)
    inner = outer.get("error", outer)
    codes, message = _codes(outer), inner
    if isinstance(inner, dict):
        codes, message = _codes(inner), inner.get("message")
    text = message if isinstance(message, str) else ""
    said = text[:_SAID_CHARS_MAX].strip().lower()
    if any(sign in said for sign in _MODERATED):
        codes |= {_FLAGGED}
    asked = retry_after_s if retry_after_s is not None else _retry_delay_s(inner)
    return Refusal(status, codes, said, text, asked)


def _codes(error: dict[str, Any]) -> frozenset[str]:
    found = [error.get(name) for name in ("code", "type", "status")]
    found += [detail.get("reason") for detail in _details(error)]
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and "flagged_input" in metadata:
        found.append(_FLAGGED)
    return frozenset(str(code).lower() for code in found if isinstance(code, str | int))


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    """Return google.rpc.Status's details: https://google.aip.dev/193."""
    details = error.get("details")
    found = details[:_DETAILS_MAX] if isinstance(details, list) else []
    return [detail for detail in found if isinstance(detail, dict)]


def _retry_delay_s(error: object) -> float | None:
    """Read Gemini's google.rpc.RetryInfo (`"retryDelay": "34s"`), which comes without a Retry-After."""
    details = _details(error) if isinstance(error, dict) else []
    for delay in (detail.get("retryDelay") for detail in details):
        number = delay.removesuffix("s") if isinstance(delay, str) else ""
        if number.replace(".", "", 1).isdecimal() and number.isascii():
            return float(number)
    return None


def _patience(refusal: Refusal) -> float:
    asked = refusal.retry_after_s
    if asked is None or math.isnan(asked):
        return _RETRY_AFTER_S
    return min(max(asked, 0.0), _RETRY_AFTER_MAX_S)


def _key_error(meaning: Meaning, service: KeyService, source: KeySource, status: int) -> PlatformError:
    name = service.value
    if not source.is_byok and meaning is Meaning.KEY_SHORT:
        return ProviderRateLimitedError(
            f"the platform's key for {name} is short of credit", service=name, retry_after_s=_SHORT_S
        )
    if not source.is_byok:
        may_be_asked_for = meaning is Meaning.KEY_INVALID and status == HTTPStatus.FORBIDDEN
        return SystemKeyExhaustedError.of(
            service,
            f"the platform's key for {name} is exhausted",
            retry_after_s=_SHORT_S if may_be_asked_for else None,
        )
    if meaning in {Meaning.KEY_EXHAUSTED, Meaning.KEY_SHORT}:
        return UserApiKeyExhaustedError(f"your {name} key has no quota or credit left", service=name)
    if meaning is Meaning.KEY_EXPIRED:
        return UserApiKeyInvalidError(f"your {name} key has expired", service=name, detail="expired")
    return UserApiKeyInvalidError(f"{name} does not accept your key", service=name)
