"""What people read about an error, by code and language. It is data."""

from collections.abc import Mapping

import orjson

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.language import DEFAULT
from shared.kernel.errors import PlatformError

_Texts = Mapping[str, Mapping[str, str]]


class Messages:
    """`details` say more than their code does; `reasons` are the edge's own. `help_urls`: where one gets a
    key for a service.
    """

    def __init__(self, codes: _Texts, reasons: _Texts, details: _Texts, help_urls: Mapping[str, str]) -> None:
        self.codes = codes
        self.reasons = reasons
        self.details = details
        self.help_urls = help_urls

    @classmethod
    def read(cls, text: bytes) -> "Messages":
        data = orjson.loads(text)
        return cls(data["codes"], data["reasons"], data["details"], data["help_urls"])

    def title(self, code: str, language: str) -> str:
        """What a code means."""
        return _in(self.codes.get(code) or self.codes["internal_error"], language)

    def message(self, error: PlatformError, language: str) -> str:
        """What happened: the edge's own reason, or what the error's detail means, else what the code does."""
        if isinstance(error, BadInputError):
            return _in(self.reasons[error.reason], language).format(param=error.param)
        if text := self.details.get(error.detail or ""):
            return _in(text, language)
        return self.title(error.code, language)


def _in(text: Mapping[str, str], language: str) -> str:
    return text.get(language) or text[DEFAULT]
