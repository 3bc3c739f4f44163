"""An answer as each of OpenAI's endpoints writes it, whole and in events."""

from collections.abc import Iterator
from typing import Protocol

import orjson

from infra.simulator.answers import Answer, Chunks, Json, completion
from infra.simulator.requests import ChatRequest


def _data(body: Json) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


class Shape(Protocol):
    def __init__(self, request: ChatRequest, answer: Answer) -> None: ...

    def whole(self) -> Json: ...

    def opening(self) -> bytes: ...

    def content(self) -> Iterator[bytes]: ...

    def closing(self) -> Iterator[bytes]: ...


class ChatShape:
    """Chat completions."""

    def __init__(self, request: ChatRequest, answer: Answer) -> None:
        self._answer = answer
        self._chunks = Chunks(answer, include_usage=request.include_usage)

    def whole(self) -> Json:
        return completion(self._answer)

    def opening(self) -> bytes:
        return _data(self._chunks.opening())

    def content(self) -> Iterator[bytes]:
        return map(_data, self._chunks.content())

    def closing(self) -> Iterator[bytes]:
        yield from map(_data, self._chunks.closing())
        yield b"data: [DONE]\n\n"


class ResponseShape:
    """Responses: https://platform.openai.com/docs/api-reference/responses"""

    def __init__(self, _request: ChatRequest, answer: Answer) -> None:
        self._answer = answer
        self._id = f"resp_{answer.id.removeprefix('chatcmpl-')}"
        self._item = f"msg_{answer.id.removeprefix('chatcmpl-')}"
        self._number = -1

    def whole(self) -> Json:
        text = "".join(self._answer.pieces)
        part: Json = {"type": "output_text", "text": text, "annotations": []}
        return self._response("completed", [self._message("completed", [part])], self._usage())

    def opening(self) -> bytes:
        begun = self._response("in_progress", [], None)
        item = self._message("in_progress", [])
        part: Json = {"type": "output_text", "text": "", "annotations": []}
        return b"".join(
            (
                self._event("response.created", response=begun),
                self._event("response.output_item.added", output_index=0, item=item),
                self._event("response.content_part.added", **self._place(), part=part),
            )
        )

    def content(self) -> Iterator[bytes]:
        for piece in self._answer.pieces:
            yield self._event("response.output_text.delta", **self._place(), delta=piece, logprobs=[])

    def closing(self) -> Iterator[bytes]:
        text = "".join(self._answer.pieces)
        yield self._event("response.output_text.done", **self._place(), text=text, logprobs=[])
        yield self._event("response.completed", response=self.whole())

    def _event(self, kind: str, **members: object) -> bytes:
        self._number += 1
        return f"event: {kind}\n".encode() + _data({"type": kind, "sequence_number": self._number, **members})

    def _place(self) -> Json:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    def _message(self, status: str, content: list[Json]) -> Json:
        return {
            "type": "message",
            "id": self._item,
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _response(self, status: str, output: list[Json], usage: Json | None) -> Json:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._answer.created,
            "status": status,
            "model": self._answer.model,
            "output": output,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": usage,
        }

    def _usage(self) -> Json | None:
        usage = self._answer.usage
        if usage is None:
            return None
        return {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        }


def embeddings(inputs: list[str]) -> Json:
    """https://platform.openai.com/docs/api-reference/embeddings"""
    tokens = sum(len(text.split()) for text in inputs)
    data = [
        {"object": "embedding", "index": index, "embedding": [0.1, float(len(text)), -0.5]}
        for index, text in enumerate(inputs)
    ]
    return {
        "object": "list",
        "data": data,
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
