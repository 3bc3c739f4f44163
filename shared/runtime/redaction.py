"""Redaction of logs: by field name, by the known shapes of keys, and by exact value while a key is in use."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import orjson

from shared.kernel.secret import REDACTED, SECRET_SHAPES, SecretText

_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_FIELDS = re.compile(
    r"(?i)^(.*(api[_-]?keys?|authorization|password|secret(_id)?|ciphertext|cookie)|x-.*-key|.*_?token)$"
)
_exact: ContextVar[tuple[str, ...]] = ContextVar("exact_values", default=())


@contextmanager
def redacting(secret: SecretText) -> Iterator[None]:
    """Redact this exact value from everything logged by this task and those it starts."""
    token = _exact.set((*_exact.get(), *_written(secret.reveal())))
    try:
        yield
    finally:
        _exact.reset(token)


def _written(text: str) -> dict[str, None]:
    """The ways that one text is written in a message, a `repr()` and JSON: quotes and backslashes differ."""
    return dict.fromkeys((text, repr(text)[1:-1], orjson.dumps(text).decode()[1:-1]))


def redact(text: str) -> str:
    """Return `text` without the keys in use, anything shaped like a key, or a URL's password."""
    for value in _exact.get():
        if value:
            text = text.replace(value, REDACTED)
    return _URL_PASSWORD.sub(rf"\1{REDACTED}@", SECRET_SHAPES.sub(REDACTED, text))


def redact_value(value: Any, name: str = "") -> Any:
    """Redact a log value of any shape; what is neither text, number nor collection becomes redacted text."""
    if name and _FIELDS.match(name):
        return REDACTED
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {redact(str(k)): redact_value(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(item) for item in value]
    return redact(str(value))
