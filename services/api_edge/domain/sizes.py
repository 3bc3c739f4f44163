"""How much one request may bring."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from services.api_edge.domain.chat import OpenAICall
from services.api_edge.domain.errors import BadInputError

_LISTS = ("messages", "input")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a chat's messages, or what stands for them at OpenAI's other endpoints; 0 is no limit.

    `message_chars`: the text of one. Images and the like are the body's to bound.
    """

    messages: int = 0
    message_chars: int = 0

    def check(self, call: OpenAICall) -> None:
        """Raise BadInputError, naming what there is too much of."""
        for name in _LISTS:
            asked = call.body.get(name)
            if isinstance(asked, str):
                self._check_text(asked, name)
            elif isinstance(asked, list):
                self._check_list(asked, name)

    def _check_list(self, asked: list[Any], name: str) -> None:
        if self.messages and len(asked) > self.messages and not isinstance(asked[0], int):  # no token ids
            raise BadInputError("too_many", name)
        for number, message in enumerate(asked):
            if isinstance(message, str):
                self._check_text(message, f"{name}[{number}]")
            elif isinstance(message, dict):
                self._check_text("".join(_texts(message.get("content"))), f"{name}[{number}].content")

    def _check_text(self, text: str, name: str) -> None:
        if self.message_chars and len(text) > self.message_chars:
            raise BadInputError("too_long", name)


ANY_SIZE: Final = Sizes()


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]
