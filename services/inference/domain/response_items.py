"""The items that a Response's output is made of, each with the events that tell of it.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from services.inference.domain.input_messages import call_extras

Body = dict[str, Any]
Told = tuple[str, Body]
"""An event's type, and its members."""


class Item(Protocol):
    """`status`: `in_progress` until it is closed."""

    status: str

    def opening(self) -> Iterator[Told]: ...

    def more(self, said: str) -> Iterator[Told]: ...

    def closing(self, status: str) -> Iterator[Told]: ...

    def body(self) -> Body: ...


@dataclass(frozen=True)
class TextKind:
    """`part`: of an item of this kind, what holds the text, as its member `member`; `event`: what the events
    that tell of it are called.
    """

    prefix: str
    item: Body
    part: Body
    member: str
    event: str
    told_beside: Body


_MESSAGE: Final[Body] = {"type": "message", "role": "assistant"}
_OUTPUT_TEXT: Final[Body] = {"type": "output_text", "annotations": [], "logprobs": []}
_REASONING: Final[Body] = {"type": "reasoning", "summary": []}
TEXT_KINDS: Final = {
    "content": TextKind("msg", _MESSAGE, _OUTPUT_TEXT, "text", "response.output_text", {"logprobs": []}),
    "refusal": TextKind("msg", _MESSAGE, {"type": "refusal"}, "refusal", "response.refusal", {}),
    "reasoning": TextKind(
        "rs", _REASONING, {"type": "reasoning_text"}, "text", "response.reasoning_text", {}
    ),
}
"""By the name that a chat's answer has for the text."""


class TextItem:
    """What was said, refused or reasoned: an item with one part."""

    def __init__(self, kind: TextKind, index: int, response_id: str) -> None:
        self._kind = kind
        self._id = f"{kind.prefix}_{response_id}_{index}"
        self._index = index
        self._texts: list[str] = []
        self.status = "in_progress"

    def opening(self) -> Iterator[Told]:
        item = {**self.body(), "content": []}
        yield "response.output_item.added", {"output_index": self._index, "item": item}
        yield "response.content_part.added", {**self._place, "part": self._part}

    def more(self, said: str) -> Iterator[Told]:
        self._texts.append(said)
        yield f"{self._kind.event}.delta", {**self._place, "delta": said, **self._kind.told_beside}

    def closing(self, status: str) -> Iterator[Told]:
        self.status = status
        text = {self._kind.member: "".join(self._texts)}
        yield f"{self._kind.event}.done", {**self._place, **text, **self._kind.told_beside}
        yield "response.content_part.done", {**self._place, "part": self._part}
        yield "response.output_item.done", {"output_index": self._index, "item": self.body()}

    def body(self) -> Body:
        return {**self._kind.item, "id": self._id, "status": self.status, "content": [self._part]}

    @property
    def _part(self) -> Body:
        return {**self._kind.part, self._kind.member: "".join(self._texts)}

    @property
    def _place(self) -> Body:
        return {"item_id": self._id, "output_index": self._index, "content_index": 0}


class CallItem:
    """A call of a function. `call`: a chat's tool call, or its beginning."""

    def __init__(self, call: Body, index: int, response_id: str) -> None:
        function = call.get("function")
        self._id = f"fc_{response_id}_{index}"
        self._index = index
        self._name = function.get("name") if isinstance(function, dict) else None
        self._extras = call_extras(call)
        self._arguments: list[str] = []
        self.status = "in_progress"
        self.call_id = call.get("id") or self._id

    def opening(self) -> Iterator[Told]:
        yield "response.output_item.added", {"output_index": self._index, "item": self.body()}

    def more(self, said: str) -> Iterator[Told]:
        self._arguments.append(said)
        yield "response.function_call_arguments.delta", {**self._place, "delta": said}

    def closing(self, status: str) -> Iterator[Told]:
        self.status = status
        whole = {"name": self._name, "arguments": "".join(self._arguments)}
        yield "response.function_call_arguments.done", {**self._place, **whole}
        yield "response.output_item.done", {"output_index": self._index, "item": self.body()}

    def body(self) -> Body:
        return {
            "type": "function_call",
            "id": self._id,
            "status": self.status,
            "call_id": self.call_id,
            "name": self._name,
            "arguments": "".join(self._arguments),
            **self._extras,
        }

    @property
    def _place(self) -> Body:
        return {"item_id": self._id, "output_index": self._index}
