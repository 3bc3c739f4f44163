"""The input of a Responses request as a chat's messages."""

from typing import Any, Final

from services.inference.domain.unmappable import objects, unmappable
from shared.kernel.errors import InvalidRequestError

Message = dict[str, Any]

_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
"""Chats of others than OpenAI know no developer."""
_TEXTS: Final = ("input_text", "output_text", "text")
_SAID_BY_MODEL: Final = ("output_text", "refusal")
_CARRIED: Final = ("extra_content",)
"""Gemini's signature of a tool call, which it wants back: https://ai.google.dev/gemini-api/docs/thought-signatures"""


def messages_of(instructions: object, asked: object) -> list[Message]:
    """Raises InvalidRequestError for what is no input, or has no place in a chat."""
    messages: list[Message] = []
    if instructions is not None:
        messages.append({"role": "system", "content": _instructions(instructions)})
    if isinstance(asked, str):
        return [*messages, {"role": "user", "content": asked}]
    for item in objects(asked, "input"):
        _add(messages, item)
    return messages


def call_extras(call: Message) -> Message:
    """Return what goes along with a tool call, either way."""
    return {name: call[name] for name in _CARRIED if call.get(name) is not None}


def _instructions(said: object) -> str:
    if not isinstance(said, str):
        raise InvalidRequestError("instructions must be a text")
    return said


def _add(messages: list[Message], item: Message) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        messages.append(_message(item))
    elif kind == "function_call":
        _add_call(messages, item)
    elif kind == "function_call_output":
        output = _content(item.get("output"), _TEXTS)
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
    elif kind != "reasoning" or item.get("encrypted_content"):
        raise unmappable("this kind of input")
    # A chat model's reasoning, told in the clear, is not to be given back to it.


def _message(item: Message) -> Message:
    role = _ROLES.get(str(item.get("role")))
    if role is None:
        raise InvalidRequestError("a message of the input has no such role")
    if role == "assistant":
        return {"role": role, "content": _said(item.get("content"))}
    return {"role": role, "content": _content(item.get("content"), (*_TEXTS, "input_image"))}


def _add_call(messages: list[Message], item: Message) -> None:
    """Calls that follow one another, and what was said before them, are one message of a chat's."""
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    call = {"id": item.get("call_id"), "type": "function", "function": function, **call_extras(item)}
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _said(content: object) -> str:
    """What a model said comes back to it as one text."""
    if isinstance(content, str):
        return content
    parts = objects(content, "a message's content")
    if any(part.get("type") not in _SAID_BY_MODEL for part in parts):
        raise unmappable("this part of an assistant's message")
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _content(content: object, kinds: tuple[str, ...]) -> str | list[Message]:
    if isinstance(content, str):
        return content
    return [_part(part, kinds) for part in objects(content, "a message's content")]


def _part(part: Message, kinds: tuple[str, ...]) -> Message:
    """What a text has with it (`cache_control`) goes along."""
    kind = part.get("type")
    if kind not in kinds or part.get("file_id") is not None:
        raise unmappable("this part of the input")
    if kind in _TEXTS:
        return {**part, "type": "text"}
    others = {
        name: value for name, value in part.items() if name not in {"type", "image_url", "detail", "file_id"}
    }
    image = {"url": part.get("image_url"), **({"detail": part["detail"]} if part.get("detail") else {})}
    return {**others, "type": "image_url", "image_url": image}
