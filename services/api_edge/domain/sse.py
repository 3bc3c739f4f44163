"""Server-sent events as OpenAI frames them: of chats unnamed, ending with `[DONE]`; of Responses named."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

DONE = b"data: [DONE]\n\n"
_LINE_END = re.compile(r"\r\n|\r|\n")
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_NO_CHOICES = re.compile(r'"choices"\s*:\s*\[\s*\]')


def frame(data: str) -> bytes:
    """Frame one event. A line end in the data becomes a further `data:` line (HTML standard §9.2)."""
    if "\n" in data or "\r" in data:
        data = _LINE_END.sub("\ndata: ", data)
    return f"data: {data}\n\n".encode()


def event_frame(event_id: str, name: str, data: bytes) -> bytes:
    """Frame a named event with an id; `data` is JSON, which has no line ends."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id.encode(), name.encode(), data)


def is_usage_only(chunk: str) -> bool:
    """Tell whether a chunk holds nothing but usage, which goes only to clients that asked for it."""
    if '"usage"' not in chunk or not _NO_CHOICES.search(chunk):
        return False
    try:
        parsed = orjson.loads(chunk)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, dict) and parsed.get("choices") == [] and bool(parsed.get("usage"))


def is_response_end(event: str) -> bool:
    """Tell the last event of a response's stream."""
    return '"response.' in event and _type_of(event) in _ENDS


def _named_frame(event: str) -> bytes:
    return b"event: " + (_type_of(event) or "message").encode() + b"\n" + frame(event)


def _type_of(event: str) -> str | None:
    try:
        parsed = orjson.loads(event)
    except orjson.JSONDecodeError:
        return None
    kind = parsed.get("type") if isinstance(parsed, dict) else None
    return kind if isinstance(kind, str) and kind.isprintable() else None


def _chat_error(error: Mapping[str, Any], _: int) -> bytes:
    return frame(orjson.dumps({"error": error}).decode())


def _response_error(error: Mapping[str, Any], number: int) -> bytes:
    """https://platform.openai.com/docs/api-reference/responses-streaming/error"""
    return _named_frame(orjson.dumps({**error, "type": "error", "sequence_number": number}).decode())


@dataclass(frozen=True, slots=True)
class Framing:
    """How one of OpenAI's streams looks. `is_last`: what is held back until the run is over, since it tells
    of all of it; `error`: what tells of one, after so many events; `end`: what closes the stream.
    """

    frame: Callable[[str], bytes]
    is_last: Callable[[str], bool]
    error: Callable[[Mapping[str, Any], int], bytes]
    end: bytes = b""


CHAT_STREAM: Final = Framing(frame, is_usage_only, _chat_error, DONE)
RESPONSE_STREAM: Final = Framing(_named_frame, is_response_end, _response_error)
