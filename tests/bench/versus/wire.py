"""What is asked and what is answered: chat completions as OpenAI writes them, always the same."""

from enum import StrEnum
from typing import Any, Final

import orjson

MODEL: Final = "gpt-4o-mini"
PROVIDER_KEY: Final = "sk-versus-0011223344556677"
CHUNKS: Final = 100
PIECES: Final = tuple(f" word{number}" for number in range(CHUNKS))
PLAIN: Final = "The same words to everybody who asks."
_USAGE: Final = {"prompt_tokens": 12, "completion_tokens": CHUNKS, "total_tokens": 12 + CHUNKS}
_IDS: Final = {"id": "chatcmpl-versus", "created": 1_760_000_000, "model": MODEL}


class Kind(StrEnum):
    """A plain answer, or one in a hundred chunks."""

    PLAIN = "plain"
    STREAM = "stream"


def question(kind: Kind, model: str) -> bytes:
    """The body that every client sends."""
    messages = [{"role": "user", "content": "Say the same words as ever."}]
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if kind is Kind.STREAM else {}
    return orjson.dumps({"model": model, "messages": messages, **streamed})


def plain_answer() -> bytes:
    message = {"role": "assistant", "content": PLAIN, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return orjson.dumps({**_IDS, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def stream_answer() -> list[bytes]:
    """The events of a streamed answer: a hundred with words, then the finish reason, the usage, the end."""
    words = [_event([_choice({"content": piece})]) for piece in PIECES]
    words[0] = _event([_choice({"role": "assistant", "content": PIECES[0]})])
    end = [_event([_choice({}, "stop")]), _event([], usage=_USAGE), b"data: [DONE]\n\n"]
    return [*words, b"".join(end)]


def models_answer() -> bytes:
    """What the provider says when a key is checked."""
    model = {"id": MODEL, "object": "model", "created": 1_721_172_741, "owned_by": "system"}
    return orjson.dumps({"object": "list", "data": [model]})


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(choices: list[dict[str, Any]], **members: object) -> bytes:
    chunk = {**_IDS, "object": "chat.completion.chunk", "choices": choices, **members}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
