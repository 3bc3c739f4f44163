"""Cutting a key out of what its provider answered."""

import re
from typing import Any, Final

import orjson

from shared.kernel.secret import REDACTED, SECRET_CHARS_MIN

_ESCAPED: Final = re.compile(r"\\[u/]")


def without_key(secret: str, text: str, body: dict[str, Any]) -> str:
    """Cut the key out of JSON, also one written with escapes that JSON does not need."""
    if _ESCAPED.search(text) and holds_key(secret, plain := _plain(body)):
        text = plain
    return text.replace(_in_json(secret), REDACTED) if holds_key(secret, text) else text


def holds_key(secret: str, text: str) -> bool:
    """Say so of a key in JSON. Cutting out one that is as short as a word would spoil every answer."""
    return len(secret) >= SECRET_CHARS_MIN and _in_json(secret) in text


def _plain(body: dict[str, Any]) -> str:
    """Write JSON anew, with no more escapes than it needs; nothing of what is too deep for that."""
    try:
        return orjson.dumps(body).decode()
    except orjson.JSONEncodeError:
        return "{}"


def _in_json(secret: str) -> str:
    return orjson.dumps(secret).decode()[1:-1]
