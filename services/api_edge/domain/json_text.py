"""JSON that passes through as text."""

import json
from typing import Any, Final

import orjson

from services.api_edge.domain.errors import BadInputError
from shared.kernel.errors import ProviderError

TOO_DEEP: Final = "the answer is nested too deep"
_MANY: Final = 500_000
"""Values, or what looks so; embeddings take at most 300,000 tokens at once."""


def check_few(text: bytes) -> None:
    """Raise BadInputError for so many values that they would take many times the text's own memory: an empty
    list of three bytes takes 64. Images and texts are few, however long.
    """
    if len(text) > _MANY and sum(text.count(sign) for sign in (b",", b"[", b"{")) > _MANY:
        raise BadInputError("too_many_values")


def check_once(text: bytes) -> None:
    """Raise BadInputError for a member that comes twice: readers differ in which they heed (RFC 8259 §4)."""
    try:
        json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise BadInputError("unreadable") from None


def _once(members: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in members}) < len(members):
        raise BadInputError("member_repeated")


def is_deep(text: bytes, value: dict[str, Any] | list[Any], depth_max: int) -> bool:
    """Tell whether what a text was read as is nested deeper than that."""
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return False
    level: list[Any] = [value]
    for _ in range(depth_max):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value
    return [child for child in inside if isinstance(child, dict | list)]


def with_member(text: str, name: str, value: Any) -> str:
    """Add a member at the end of a JSON object without reading it; what is no object stays as it is.

    An object that may have one of this name already is read: ours takes its place. Raises ProviderError for
    one that is nested too deep for it.
    """
    text = text.strip()
    if f'"{name}"' in text:
        text = _without(text, name)
    if not (text.startswith("{") and text.endswith("}")):
        return text
    head = text[:-1].rstrip()
    comma = "" if head == "{" else ","
    return f'{head}{comma}"{name}":{orjson.dumps(value).decode()}}}'


def _without(text: str, name: str) -> str:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if not isinstance(value, dict) or name not in value:
        return text
    del value[name]
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise ProviderError(TOO_DEEP) from None
