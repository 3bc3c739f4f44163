"""What a provider's refusal means, as one of our errors. Pure; the tables are in the tests."""

import math
import re
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from services.inference.domain.refusals import FLAGGED, Refusal
from shared.kernel.errors import (
    BusUnavailableError,
    DatabaseUnavailableError,
    InternalError,
    InvalidRequestError,
    PlatformError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    Refused,
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
"""How long a platform key rests that had too little credit for one request, or was said to be suspended: what
one user asks for must not take it from everybody for good.
"""


class NotAllowedError(InvalidRequestError):
    """A key has no leave for what was asked: another may have it, and nothing is wrong with this one."""


CURABLE: Final = (
    NotAllowedError,
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


class EndpointMissingError(InvalidRequestError):
    """There is nothing at that address of the provider's, or so it seems: the model may be missing, too."""


class Meaning(Enum):
    KEY_INVALID = auto()
    KEY_EXPIRED = auto()
    KEY_EXHAUSTED = auto()
    KEY_SHORT = auto()
    RATE_LIMITED = auto()
    NOT_ALLOWED = auto()
    TOO_LARGE = auto()
    BAD_REQUEST = auto()
    TIMED_OUT = auto()
    BROKEN = auto()


_BY_STATUS: Final = {
    401: Meaning.KEY_INVALID,
    402: Meaning.KEY_EXHAUSTED,
    403: Meaning.NOT_ALLOWED,
    408: Meaning.TIMED_OUT,
    409: Meaning.BROKEN,
    429: Meaning.RATE_LIMITED,
    498: Meaning.RATE_LIMITED,  # Groq: flex capacity exceeded
}
_ACCOUNT: Final = re.compile(
    r"\b(?:org|proj)[-_]\w+|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE
)
"""What OpenAI calls organizations and projects; what xAI calls teams and keys."""
_CLIENT_ERRORS: Final = range(400, 500)

_ACCOUNT_GONE: Final = (
    r"(?:your|this|the) (?:\w+ ){0,2}(?:key|account|organi[sz]ation|team|project)\b[^'\"`]{0,80}"
    r"\b(?:disabled|blocked|suspended|deactivated|revoked|leaked|banned|terminated)\b"
)

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
            "billing_disabled",  # Google
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
        frozenset({400, 403}),
        (
            "api_key_invalid",  # Gemini
            "api key not valid",
            "incorrect api key provided",  # xAI
            "invalid_api_key",
            "organization_restricted",  # Groq
            "account_deactivated",  # OpenAI
            "consumer_suspended",  # Google: https://cloud.google.com/apis/design/errors
            "consumer_invalid",
            "service_disabled",
        ),
    ),
    (
        Meaning.NOT_ALLOWED,  # OpenAI: a restricted key
        frozenset({401, 403}),
        ("missing_scope", "you have insufficient permissions for this operation"),
    ),
    (
        Meaning.TOO_LARGE,  # OpenAI: more tokens at once than this account has in a minute
        frozenset({429}),
        ("request too large for",),
    ),
    (
        Meaning.BAD_REQUEST,  # what was asked for is not for this key: the key is good
        frozenset({403}),
        (
            r"you are not allowed to [a-z ]+ from this model",  # OpenAI: a chat model's embeddings
            "content violates usage guidelines",  # xAI
            "model_not_found",
            "model_permission_blocked_org",
            "model_permission_blocked_project",
            "free_tier_model_not_available",
            "you do not have permission to access the file",  # Gemini
            FLAGGED,
        ),
    ),
    (
        Meaning.KEY_INVALID,  # said of the key or its account; what is quoted comes after a quote
        frozenset({403}),
        (_ACCOUNT_GONE,),
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
        said = _quoted(refusal, source) or f"{name} refused the request"
        return InvalidRequestError(said, service=name, refused=_refused(refusal, source))
    if meaning in (Meaning.NOT_ALLOWED, Meaning.TOO_LARGE):
        return _not_allowed(
            refusal, service, source, is_quoted=source.is_byok or meaning is Meaning.TOO_LARGE
        )
    if meaning is Meaning.TIMED_OUT:
        return ProviderTimeoutError(f"{name} timed out", service=name)
    if meaning is Meaning.BROKEN:
        return ProviderError(f"{name} failed (HTTP {refusal.status})", service=name)
    return _key_error(meaning, service, source, refusal.status)


def _not_allowed(
    refusal: Refusal, service: KeyService, source: KeySource, *, is_quoted: bool
) -> NotAllowedError:
    """What the platform's key may not do is nobody's business but the platform's."""
    said = (_quoted(refusal, source) if is_quoted else "") or f"{service} does not allow this with the key"
    refused = _refused(refusal, source) if is_quoted else None
    return NotAllowedError(said, service=service.value, refused=refused)


def _refused(refusal: Refusal, source: KeySource) -> Refused:
    code, param = (_named(word, source) for word in (refusal.code, refusal.param))
    return Refused(refusal.status, code, param)


def _named(word: str | None, source: KeySource) -> str | None:
    is_ours = word is not None and not source.is_byok and _ACCOUNT.search(word)
    return None if is_ours else word


def _quoted(refusal: Refusal, source: KeySource) -> str:
    """Return the provider's words: to others than its owner without the names of a key's account."""
    said = refusal.message if source.is_byok else _ACCOUNT.sub("…", refusal.message)
    return said[:MESSAGE_CHARS_MAX]


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
        return UserApiKeyInvalidError(
            f"your {name} key has expired", service=name, detail=UserApiKeyInvalidError.EXPIRED
        )
    return UserApiKeyInvalidError(f"{name} does not accept your key", service=name)
