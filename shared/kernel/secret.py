"""`SecretText`: the one type a key lives in. It refuses to print, pickle or serialise."""

import hmac
import re
from typing import Any, Final, NoReturn

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_MASK = "SecretText(***)"
_HINT_ENDS = 4
_HINT_WHOLE = 12

KEY_CHARS_MAX: Final = 8_192
REDACTED: Final = "[redacted]"
SECRET_CHARS_MIN: Final = 8
"""Servers of one's own take any word as a key, as `x`: a shorter one is no secret, and stands everywhere."""

SECRET_SHAPES: Final = re.compile(
    r"\b(?:sk-[A-Za-z0-9_\-]{8,}|gsk_[A-Za-z0-9_\-]{8,}|AIza[A-Za-z0-9_\-]{10,}|xai-[A-Za-z0-9_\-]{8,}"
    r"|lks?_[A-Za-z0-9_\-]{16,}|hvs\.[A-Za-z0-9_\-]{8,}|s\.[A-Za-z0-9]{20,}"
    r"|eyJ[A-Za-z0-9_\-]+\.eyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+)"
)
"""How the keys and tokens that we know begin."""
_BETWEEN_WORDS: Final = re.compile(r"[\s/:;,=&?\"'()]+")


class SecretText:
    """A secret string. Only `reveal()` gives it, at the very border where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def hint(self) -> str:
        """Return what people may see: `sk-…1f9c`; short secrets show nothing."""
        if len(self._text) < _HINT_WHOLE:
            return "…"
        return f"{self._text[:3]}…{self._text[-_HINT_ENDS:]}"

    def stands_in(self, text: str | None) -> bool:
        """Say whether a text that others may read holds it."""
        return text is not None and len(self._text) >= SECRET_CHARS_MIN and self._text in text

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return _MASK

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretText):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((SecretText, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretText cannot be pickled or copied")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        parse = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.json_or_python_schema(
            json_schema=parse,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), parse]),
            serialization=core_schema.plain_serializer_function_ser_schema(_refuse),
        )


def is_provider_key(secret: SecretText) -> bool:
    """Say whether it is 1 to 8,192 visible ASCII characters: a provider's key is an HTTP header as it is."""
    text = secret.reveal()
    return 0 < len(text) <= KEY_CHARS_MAX and is_visible_ascii(text)


def is_visible_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def holds_secret(text: str) -> bool:
    """Say whether a word in it has the shape of a key: somebody put one where everybody may read it."""
    return any(SECRET_SHAPES.match(word) for word in _BETWEEN_WORDS.split(text))


def _refuse(_secret: SecretText) -> NoReturn:
    raise TypeError("a SecretText cannot be serialised")
