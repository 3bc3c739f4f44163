"""The one tree of typed errors. Codes are stable; only the edge maps them to HTTP."""

from dataclasses import dataclass
from typing import ClassVar, Self

from shared.kernel.names import KeyService


@dataclass(frozen=True, slots=True)
class Refused:
    """How a provider refused a request: HTTP status, its own code, and the parameter that it names."""

    status: int
    code: str | None = None
    param: str | None = None


class PlatformError(Exception):
    """Something the caller must be told, by a stable code.

    `retry_after_s`: in how many seconds the same call may succeed. `message` is public: it never holds a key
    or a caller's text. `refused`: of a request that its provider takes for wrong.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str = "",
        *,
        service: str | None = None,
        retry_after_s: float | None = None,
        detail: str | None = None,
        refused: Refused | None = None,
    ) -> None:
        super().__init__(message or self.code)
        self.message = message or self.code.replace("_", " ")
        self.service = service
        self.retry_after_s = retry_after_s
        self.detail = detail
        self.refused = refused


class InternalError(PlatformError):
    """A defect of ours; the logs have the cause."""


class InvalidRequestError(PlatformError):
    code = "invalid_request"


class UnauthenticatedError(PlatformError):
    code = "unauthenticated"


class ForbiddenError(PlatformError):
    code = "forbidden"


class NotFoundError(PlatformError):
    code = "not_found"


class ConflictError(PlatformError):
    code = "conflict"


class UserApiKeyRequiredError(PlatformError):
    code = "user_api_key_required"


class UserApiKeyInvalidError(PlatformError):
    """`EXPIRED` is the detail of a key that was good once."""

    code = "user_api_key_invalid"
    EXPIRED: ClassVar[str] = "key_expired"


class UserApiKeyExhaustedError(PlatformError):
    code = "user_api_key_exhausted"


class ConsentRequiredError(PlatformError):
    code = "consent_required"


class SystemKeyExhaustedError(PlatformError):
    code = "system_key_exhausted"

    @classmethod
    def of(cls, service: KeyService, message: str, *, retry_after_s: float | None = None) -> Self:
        """For OpenRouter, `detail` is the name that its clients know."""
        detail = "OPENROUTER_SYSTEM_KEY_EXHAUSTED" if service is KeyService.OPENROUTER else None
        return cls(message, service=service.value, retry_after_s=retry_after_s, detail=detail)


class InsufficientCreditsError(PlatformError):
    code = "insufficient_credits"


class PriceUnknownError(PlatformError):
    code = "price_unknown"


class RateLimitedError(PlatformError):
    """The caller asks for more than they may, of us."""

    code = "rate_limited"


class ProviderRateLimitedError(PlatformError):
    code = "provider_rate_limited"


class ProviderError(PlatformError):
    """`TOO_LONG` is the detail of an answer that is longer than anybody passes on."""

    code = "provider_error"
    TOO_LONG: ClassVar[str] = "answer_is_too_long"


class ProviderTimeoutError(PlatformError):
    code = "provider_timeout"


class WorkerLostError(PlatformError):
    code = "worker_lost"


class RunCancelledError(PlatformError):
    code = "run_cancelled"


class VaultUnavailableError(PlatformError):
    code = "vault_unavailable"


class BusUnavailableError(PlatformError):
    code = "bus_unavailable"


class NotSentError(BusUnavailableError):
    """Nobody can have got it: it was not even tried."""


class DatabaseUnavailableError(PlatformError):
    code = "database_unavailable"


class ServiceUnavailableError(PlatformError):
    """A service of ours did not answer in time; `service` names it."""

    code = "service_unavailable"


def error_class(code: str) -> type[PlatformError]:
    """Return the error type of a code; an unknown code (a newer peer's) is an `InternalError`."""
    return next((cls for cls in PlatformError.__subclasses__() if cls.code == code), InternalError)
