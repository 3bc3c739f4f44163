"""Server-sent events as OpenAI frames them: unnamed, one `data:` per event, `[DONE]` at the end."""

import re

import orjson

DONE = b"data: [DONE]\n\n"
_LINE_END = re.compile(r"\r\n|\r|\n")
_NO_CHOICES = re.compile(r'"choices"\s*:\s*\[\s*\]')


def frame(data: str) -> bytes:
    """Frame one event. A line end in the data becomes a further `data:` line (HTML standard §9.2)."""
    if "\n" in data or "\r" in data:
        data = _LINE_END.sub("\ndata: ", data)
    return f"data: {data}\n\n".encode()


def event_frame(number: int, name: str, data: bytes) -> bytes:
    """Frame a named event with an id; `data` is JSON, which has no line ends."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), data)


def is_usage_only(chunk: str) -> bool:
    """Tell whether a chunk holds nothing but usage, which goes only to clients that asked for it."""
    if '"usage"' not in chunk or not _NO_CHOICES.search(chunk):
        return False
    try:
        parsed = orjson.loads(chunk)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, dict) and parsed.get("choices") == [] and bool(parsed.get("usage"))
