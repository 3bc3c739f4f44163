"""OpenAI's chat request, checked lightly: what we do not need to know passes through untouched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.json_text import check_few, is_deep
from shared.kernel.names import KeyService, Operation

_DEPTH_MAX = 64
"""More than any reader downstream must bear."""
_OURS = ("model", "stream")
_MANY_PROVIDERS = (KeyService.OPENROUTER, KeyService.GATEWAY)
_INPUT_ELSEWHERE = ("prompt", "previous_response_id", "conversation")
"""What a Responses request may go on from without an `input` of its own."""
_LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class OpenAICall:
    """A call of one of OpenAI's endpoints. `body` holds what the client sent without `model` and `stream`; a
    chat's without `include_usage` of its `stream_options`, too.

    `model` is None when the client leaves it to the flow.
    """

    model: str | None
    stream: bool
    include_usage: bool
    body: dict[str, Any]
    operation: Operation = Operation.CHAT


def parse_chat(raw: bytes) -> OpenAICall:
    """Raise BadInputError for what is not a JSON object with `messages`, or has them of wrong types."""
    return chat_call(json_object(raw))


def chat_call(body: dict[str, Any]) -> OpenAICall:
    """As `parse_chat`, of an object that was read; it is changed."""
    model = optional(body, "model", str)
    messages = _required(body, "messages", list)
    if not messages or not all(isinstance(message, dict) for message in messages):
        raise BadInputError("wrong_type" if messages else "wrong_value", "messages")
    options = optional(body, "stream_options", dict) or {}
    stream = bool(optional(body, "stream", bool))
    for name in (*_OURS, "stream_options"):
        body.pop(name, None)
    others = {name: value for name, value in options.items() if name != "include_usage"}
    if stream and others:
        body["stream_options"] = others
    return OpenAICall(model, stream, options.get("include_usage") is True, body)


def parse_embeddings(raw: bytes) -> OpenAICall:
    """Raise BadInputError for what is not a JSON object with `model` and `input`."""
    body = json_object(raw)
    if optional(body, "model", str) is None:
        raise BadInputError("required", "model")
    return _call(body, Operation.EMBEDDINGS)


def parse_responses(raw: bytes) -> OpenAICall:
    """Raise BadInputError for what is not a JSON object with `input`, or has members of wrong types."""
    body = json_object(raw)
    stream = bool(optional(body, "stream", bool))
    return _call(body, Operation.RESPONSES, stream=stream)


def _call(body: dict[str, Any], operation: Operation, *, stream: bool = False) -> OpenAICall:
    asked = body.get("input")
    if asked is None and all(body.get(name) is None for name in _INPUT_ELSEWHERE):
        raise BadInputError("required", "input")
    if asked is not None and not isinstance(asked, str | list):
        raise BadInputError("wrong_type", "input")
    model = optional(body, "model", str)
    for name in _OURS:
        body.pop(name, None)
    return OpenAICall(model, stream, include_usage=True, body=body, operation=operation)


def json_object(raw: bytes) -> dict[str, Any]:
    """Raise BadInputError for what is no JSON object, or one of too many values, or too deep."""
    check_few(raw)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadInputError("unreadable") from None
    if not isinstance(body, dict):
        raise BadInputError("not_an_object")
    if is_deep(raw, body, _DEPTH_MAX):
        raise BadInputError("too_deep")
    return body


def with_preferred(
    body: dict[str, Any], preferred: Mapping[str, Any], provider: KeyService
) -> dict[str, Any]:
    """Add a user's own parameters where the body has none. Of the names for the answer's length providers
    take one at a time, so the body's own leaves no room for another, and `max_tokens` goes by their name.
    """
    others = {name: value for name, value in preferred.items() if name not in _LENGTHS}
    length = preferred.get("max_tokens")
    if length is not None and not any(name in body for name in _LENGTHS):
        others[limit_parameter(provider)] = length
    return {**others, **body}


def limit_parameter(provider: KeyService) -> str:
    """Return what a provider calls the most tokens of a chat's answer: OpenAI's newer models take no other.

    As in inference's `providers.toml`; a test holds the two equal.
    """
    return "max_tokens" if provider in _MANY_PROVIDERS else "max_completion_tokens"


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


def take(body: dict[str, Any], name: str, kind: type) -> Any:
    """As `optional`, and take the member out: it is ours, and no provider's."""
    value = optional(body, name, kind)
    body.pop(name, None)
    return value
