"""What the edge itself refuses, with a reason that it can say in every language it speaks."""

from shared.kernel.errors import InsufficientCreditsError, InvalidRequestError, UserApiKeyInvalidError
from shared.kernel.names import KeyService, KeyVerdict


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
