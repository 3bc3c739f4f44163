"""OpenAI's chat request, checked lightly: what we do not need to know passes through untouched."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from services.api_edge.domain.errors import BadInputError

MESSAGES_MAX: Final = 4096
_DEPTH_MAX = 64
_OURS = ("model", "stream", "stream_options")


@dataclass(frozen=True, slots=True)
class ChatCall:
    """`body` holds the client's parameters without `model`, `stream` and `stream_options`.

    `model` is None when the client leaves it to the flow.
    """

    model: str | None
    stream: bool
    include_usage: bool
    body: dict[str, Any]


def parse_chat(raw: bytes) -> ChatCall:
    """Raise BadInputError for what is not a JSON object with `messages`, or has them of wrong types."""
    return chat_call(json_object(raw))


def chat_call(body: dict[str, Any]) -> ChatCall:
    """As `parse_chat`, of an object that was read; it is changed."""
    model = optional(body, "model", str)
    messages = _required(body, "messages", list)
    if len(messages) > MESSAGES_MAX:
        raise BadInputError("too_many", "messages")
    if not messages or not all(isinstance(message, dict) for message in messages):
        raise BadInputError("wrong_type" if messages else "wrong_value", "messages")
    options = optional(body, "stream_options", dict) or {}
    stream = bool(optional(body, "stream", bool))
    for name in _OURS:
        body.pop(name, None)
    return ChatCall(model, stream, options.get("include_usage") is True, body)


def json_object(raw: bytes) -> dict[str, Any]:
    """Raise BadInputError for what is no JSON object, or too deep a one."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadInputError("unreadable") from None
    if not isinstance(body, dict):
        raise BadInputError("not_an_object")
    if _is_deep(raw, body):
        raise BadInputError("too_deep")
    return body


def _required(body: dict[str, Any], name: str, kind: type) -> Any:
    if body.get(name) is None:
        raise BadInputError("required", name)
    return optional(body, name, kind)


def optional(body: dict[str, Any], name: str, kind: type) -> Any:
    """Return a member, None when it is absent. Raises BadInputError when it is of another kind."""
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise BadInputError("wrong_type", name)
    return value


def _is_deep(raw: bytes, body: dict[str, Any]) -> bool:
    """Tell whether the body is nested deeper than any reader downstream must bear."""
    if raw.count(b"[") + raw.count(b"{") <= _DEPTH_MAX:
        return False
    level: list[Any] = [body]
    for _ in range(_DEPTH_MAX):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value
    return [child for child in inside if isinstance(child, dict | list)]
