"""The answer to a request, and its shapes on OpenAI's wire."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

import orjson

from infra.simulator.directives import without_directives
from infra.simulator.requests import ChatRequest

FINGERPRINT = "fp_simulator"
_ECHO_WORDS_MAX = 24

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer cut into the chunks it is streamed in. `call`: of a tool, in place of words."""

    id: str
    created: int
    model: str
    pieces: list[str]
    finish_reason: Literal["stop", "length", "tool_calls"]
    usage: Json | None
    call: Json | None = None


def _words(request: ChatRequest) -> tuple[list[str], bool]:
    """The answer's words, and whether the limit cut it short."""
    echo = ["Echo:", *without_directives(request.prompt).split()[:_ECHO_WORDS_MAX]]
    words = list(islice(cycle(echo), max(len(echo), request.directives.chunks_min)))
    limit = request.tokens_max
    return words[:limit], limit is not None and limit < len(words)


def _pieces(words: list[str], count: int | None) -> list[str]:
    tokens = [word if index == 0 else f" {word}" for index, word in enumerate(words)]
    size = len(tokens)
    parts = min(count or size, size)
    return ["".join(tokens[part * size // parts : (part + 1) * size // parts]) for part in range(parts)]


def usage_of(prompt_tokens: int, completion_tokens: int, cache: tuple[int, int] = (0, 0)) -> Json:
    """OpenAI's usage object; `cache`: how many of the prompt tokens were read from it, and written to it."""
    read, written = cache
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def answer(request: ChatRequest) -> Answer:
    """What the simulated model says to a request."""
    words, short = _words(request)
    call = _call(request)
    tokens = request.directives.tokens or (request.prompt_tokens, len(words))
    return Answer(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=request.model,
        pieces=_pieces(words, request.directives.chunks),
        finish_reason="tool_calls" if call else "length" if short else "stop",
        usage=None if request.directives.no_usage else usage_of(*tokens, request.directives.cache),
        call=call,
    )


def _call(request: ChatRequest) -> Json | None:
    if request.tool is None or not request.directives.call_tool:
        return None
    name, parameters = request.tool
    arguments = dict.fromkeys(parameters, without_directives(request.prompt))
    function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def _envelope(answer: Answer, kind: str, choices: list[Json]) -> Json:
    return {
        "id": answer.id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "choices": choices,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def completion(answer: Answer) -> Json:
    """The body of a plain answer (`chat.completion`)."""
    message: Json = {
        "role": "assistant",
        "content": "".join(answer.pieces),
        "refusal": None,
        "annotations": [],
    }
    if answer.call is not None:
        message |= {"content": None, "tool_calls": [answer.call]}
    choice: Json = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    body = _envelope(answer, "chat.completion", [choice])
    return body if answer.usage is None else body | {"usage": answer.usage}


class Chunks:
    """The `chat.completion.chunk` bodies of a streamed answer."""

    def __init__(self, answer: Answer, *, include_usage: bool) -> None:
        self._answer = answer
        self._include_usage = include_usage

    def opening(self) -> Json:
        """The first chunk, which tells the role."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def content(self) -> Iterator[Json]:
        if self._answer.call is not None:
            return iter([self._chunk({"tool_calls": [{"index": 0, **self._answer.call}]})])
        return (self._chunk({"content": piece}) for piece in self._answer.pieces)

    def closing(self) -> Iterator[Json]:
        """The finish reason, then the usage if it was asked for."""
        yield self._chunk({}, self._answer.finish_reason)
        if self._include_usage and self._answer.usage is not None:
            yield _envelope(self._answer, "chat.completion.chunk", []) | {"usage": self._answer.usage}

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> Json:
        choice: Json = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        body = _envelope(self._answer, "chat.completion.chunk", [choice])
        return body | {"usage": None} if self._include_usage else body


def models() -> Json:
    """OpenAI's models list."""
    names = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "o4-mini")
    data = [{"id": name, "object": "model", "created": 1_721_172_741, "owned_by": "system"} for name in names]
    return {"object": "list", "data": data}


def anthropic_models() -> Json:
    """Anthropic's models list: https://docs.claude.com/en/api/models-list"""
    names = ("claude-sonnet-4-5", "claude-haiku-4-5")
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2025-09-29T00:00:00Z"}
        for name in names
    ]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def openrouter_key() -> Json:
    """What OpenRouter tells about a key without a limit."""
    data = {
        "label": "sk-or-v1-sim...ulator",
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "usage": 0,
        "byok_usage": 0,
        "is_free_tier": False,
        "is_management_key": False,
        "is_provisioning_key": False,
        "expires_at": None,
    }
    return {"data": data}


def xai_key() -> Json:
    """What xAI tells about a key that nobody has blocked."""
    return {
        "redacted_api_key": "xai-...ator",
        "api_key_id": "00000000-0000-0000-0000-000000000000",
        "name": "simulator",
        "acls": ["api-key:model:*", "api-key:endpoint:*"],
        "api_key_blocked": False,
        "api_key_disabled": False,
        "team_blocked": False,
    }
