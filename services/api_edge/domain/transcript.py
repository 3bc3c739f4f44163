"""An answer as the runs API tells it: pieces with numbers, then the whole, then what it used.

The same run makes the same events, whoever tells them, whenever, and from wherever on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from services.api_edge.domain.json_text import TOO_DEEP, is_deep
from services.api_edge.domain.message_pieces import MessagePieces
from services.api_edge.domain.response_reading import (
    ended_response,
    is_response_event,
    piece_of,
    reason_of,
    text_of,
)
from services.api_edge.domain.run_call import RunKind
from shared.contracts.runs import RunChunk
from shared.kernel.errors import ProviderError

NOT_JSON: Final = "answer_is_not_json"
_DEPTH_MAX: Final = 200
"""orjson reads 1024 levels and writes 254; a few are ours."""
_PLAIN: Final = frozenset({"content", "role", "refusal"})


@dataclass(frozen=True, slots=True)
class Event:
    """`number`: counts from 1 over all events of a run, with gaps."""

    number: int
    name: str
    data: Mapping[str, Any]


class Transcript:
    """Takes a run's chunks in order, or its whole completion: a chat's, a Response's, or embeddings.

    `output`: a Response's items.
    """

    def __init__(self, kind: RunKind) -> None:
        self.finish_reason: str | None = None
        self.output: list[Any] | None = None
        self._embeddings: list[Any] | None = None
        self._kind = kind
        self._texts: list[str] = []
        self._message: dict[str, Any] | None = None
        self._pieces = MessagePieces()
        self._chunks = 0

    @property
    def message(self) -> dict[str, Any] | None:
        """A chat's message: as it came whole, or put together. None of anything else."""
        return self._pieces.whole("".join(self._texts)) if self._message is None else self._message

    def pieces(self, chunk: RunChunk) -> Iterator[Event]:
        """Return the events of what a worker told: one for each chunk that says something.

        Raises ProviderError, as `take` and `response` do, for what cannot be read, or told again.
        """
        for text in chunk.chunks:
            self._chunks += 1
            if (data := self._piece(_object(text))) is not None:
                yield Event(self._chunks, "message_chunk", data)

    def take(self, completion: str) -> None:
        """Read a completion that came whole."""
        body = _object(completion)
        if isinstance(body.get("output"), list):
            self._end(body)
        elif isinstance(body.get("data"), list):
            self._embeddings = body["data"]
        else:
            self._take_chat(_first(body))

    def _take_chat(self, choice: Mapping[str, Any]) -> None:
        message = choice.get("message")
        self._message = message if isinstance(message, dict) else None
        self.finish_reason = _text_of(choice.get("finish_reason"))
        self._texts = [_text_of((self._message or {}).get("content")) or ""]

    def response(self) -> Any:
        """Return the whole answer. Raises ProviderError when a JSON object was asked for and it is none."""
        if self._embeddings is not None:
            return self._embeddings
        text = "".join(self._texts)
        if self._kind is not RunKind.JSON:
            return text
        value = _read(text)
        if not isinstance(value, dict):
            raise _no_object()
        return value

    def last(self, nth: int, name: str, data: Mapping[str, Any]) -> Event:
        """Return the nth event after all chunks."""
        return Event(self._chunks + nth, name, data)

    def failure(self, problem: Mapping[str, Any], *, after: int) -> Event:
        """Return the end by an error. A lost worker's chunks are lost: who has heard them hears it, too."""
        return Event(max(self._chunks, after) + 1, "error", problem)

    def _end(self, response: Mapping[str, Any]) -> None:
        output = response.get("output")
        self.output = output if isinstance(output, list) else None
        self.finish_reason = reason_of(response)
        self._texts = [text_of(response)]

    def _piece_of_response(self, event: dict[str, Any]) -> dict[str, Any] | None:
        if (ended := ended_response(event)) is not None:
            self._end(ended)
        return piece_of(event)

    def _piece(self, body: dict[str, Any]) -> dict[str, Any] | None:
        if is_response_event(body):
            return self._piece_of_response(body)
        first = _first(body)
        delta = first.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        text = _text_of(delta.get("content")) or ""
        if first.get("index"):  # another answer's
            return {"chunk": "", "choices": body["choices"]}
        self.finish_reason = _text_of(first.get("finish_reason")) or self.finish_reason
        self._texts.append(text)
        self._pieces.take(delta)
        if _says_more(body, delta):
            return {"chunk": text, "choices": body["choices"]}
        return {"chunk": text} if text else None


def _says_more(body: Mapping[str, Any], delta: Mapping[str, Any]) -> bool:
    """Tell tool calls, reasoning, or several answers at once: they are told as the provider tells them."""
    choices = body.get("choices")
    if isinstance(choices, list) and len(choices) > 1:
        return True
    return any(value is not None for name, value in delta.items() if name not in _PLAIN)


def _object(text: str) -> dict[str, Any]:
    value = _read(text)
    return value if isinstance(value, dict) else {}


def _read(text: str) -> Any:
    """Raise ProviderError for what is no JSON, or nested too deep to be told again."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _no_object() from None
    if isinstance(value, dict | list) and is_deep(text.encode(), value, _DEPTH_MAX):
        raise ProviderError(TOO_DEEP)
    return value


def _no_object() -> ProviderError:
    return ProviderError("the answer is not a JSON object", detail=NOT_JSON)


def _first(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None
