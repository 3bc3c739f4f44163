"""What the edge itself refuses, with a reason that it can say in every language it speaks."""

from typing import Final

from services.api_edge.domain.allowance import Allowance
from shared.kernel.errors import (
    InsufficientCreditsError,
    InvalidRequestError,
    RateLimitedError,
    ServiceUnavailableError,
    UserApiKeyInvalidError,
)
from shared.kernel.names import KeyService, KeyVerdict

UNKNOWN_MODEL: Final = "unknown_model"


class BadInputError(InvalidRequestError):
    """`reason` is a key of the message catalogue; `param` names the field or header, never its value."""

    def __init__(self, reason: str, param: str | None = None) -> None:
        super().__init__(
            reason.replace("_", " ") if param is None else f"{param}: {reason.replace('_', ' ')}"
        )
        self.reason = reason
        self.param = param


class TooLargeError(BadInputError):
    """The body is longer than the edge reads."""

    def __init__(self) -> None:
        super().__init__("too_large")


class WrongMethodError(BadInputError):
    """The path exists, but not for this method."""

    def __init__(self) -> None:
        super().__init__("wrong_method")


class OverLimitError(RateLimitedError):
    """`allowance`: what is left, None when too much is under way at once."""

    def __init__(self, allowance: Allowance | None = None) -> None:
        super().__init__(
            retry_after_s=1.0 if allowance is None else max(1.0, allowance.reset_s),
            detail="too_many_at_once" if allowance is None else f"too_many_{allowance.limited}",
        )
        self.allowance = allowance


class EdgeClosingError(ServiceUnavailableError):
    """The edge ends. What it waited for may go on."""


class NotHeardError(ServiceUnavailableError):
    """No worker was heard of a run in time. One may have taken it all the same, and called its provider."""


class KeyRefusedError(UserApiKeyInvalidError):
    """Asked at entry, the provider says that a key is `invalid` or `expired`."""

    def __init__(self, verdict: KeyVerdict, service: KeyService) -> None:
        super().__init__(service=service.value, detail=f"key_{verdict.value}")
        self.key_status = verdict.value


class MissingCreditsError(InsufficientCreditsError):
    """A feature costs `missing_micros` more than is available."""

    def __init__(self, missing_micros: int, service: str | None = None) -> None:
        super().__init__(service=service)
        self.missing_micros = missing_micros
