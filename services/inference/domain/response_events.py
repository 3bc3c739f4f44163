"""A chat's answer, told as a Response: whole, or in the events of its stream."""

from collections.abc import Iterator
from typing import Any

from services.inference.domain.answers import usage_in
from services.inference.domain.response_items import TEXT_KINDS, CallItem, Item, TextItem, Told
from services.inference.domain.response_object import ended, status_of
from shared.kernel.errors import ProviderError

Body = dict[str, Any]


class ResponseEvents:
    """Takes a chat's chunks in order. `response`: under way, nothing in it yet."""

    def __init__(self, response: Body) -> None:
        self._response = response
        self._id = str(response["id"]).removeprefix("resp_")
        self._items: list[Item] = []
        self._speaking: tuple[str, TextItem] | None = None
        self._calls: dict[int, CallItem] = {}
        self._number = -1
        self._finish_reason: str | None = None
        self._usage: Body | None = None

    def of(self, chunk: Body) -> list[Body]:
        """Return what a chunk tells; one that only ends the answer, or counts, tells nothing."""
        beginning = [] if self._number >= 0 else self._beginning(chunk.get("model"))
        self._usage = usage_in(chunk) or self._usage
        choice = _first_choice(chunk)
        reason = choice.get("finish_reason")
        self._finish_reason = reason if isinstance(reason, str) else self._finish_reason
        delta = choice.get("delta")
        told = self._told(delta) if isinstance(delta, dict) else ()
        return beginning + [self._event(*each) for each in told]

    def end(self) -> list[Body]:
        """Return the rest: what is open is closed, and the whole response is told.

        Raises ProviderError when there was no chunk at all: that is no answer.
        """
        if self._number < 0:
            raise ProviderError("the answer was cut short")
        status = status_of(self._finish_reason)
        is_open = [item for item in self._items if item.status == "in_progress"]
        told = [self._event(*each) for item in is_open for each in item.closing(status)]
        output = [item.body() for item in self._items]
        response = ended(self._response, output, self._finish_reason, self._usage)
        return [*told, self._event(f"response.{status}", {"response": response})]

    def _beginning(self, model: object) -> list[Body]:
        if isinstance(model, str):
            self._response = {**self._response, "model": model}
        told = {"response": self._response}
        return [self._event("response.created", told), self._event("response.in_progress", told)]

    def _told(self, delta: Body) -> Iterator[Told]:
        reasoning = delta.get("reasoning") or delta.get("reasoning_content")
        for name, said in (
            ("reasoning", reasoning),
            ("content", delta.get("content")),
            ("refusal", delta.get("refusal")),
        ):
            if said and isinstance(said, str):
                yield from self._say(name, said)
        calls = delta.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                yield from self._call(call, position)

    def _say(self, name: str, said: str) -> Iterator[Told]:
        if self._speaking is None or self._speaking[0] != name:
            yield from self._stop_speaking()
            item = TextItem(TEXT_KINDS[name], len(self._items), self._id)
            self._speaking = name, item
            self._items.append(item)
            yield from item.opening()
        yield from self._speaking[1].more(said)

    def _stop_speaking(self) -> Iterator[Told]:
        if self._speaking is not None:
            yield from self._speaking[1].closing("completed")
        self._speaking = None

    def _call(self, call: Body, position: int) -> Iterator[Told]:
        """Pieces of several calls may come in turn. Gemini gives all of them one index, not one id."""
        number = call["index"] if isinstance(call.get("index"), int) else position
        item = self._calls.get(number)
        if item is None or (call.get("id") or item.call_id) != item.call_id:
            yield from self._stop_speaking()
            item = self._calls[number] = CallItem(call, len(self._items), self._id)
            self._items.append(item)
            yield from item.opening()
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if arguments and isinstance(arguments, str):
            yield from item.more(arguments)

    def _event(self, kind: str, members: Body) -> Body:
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **members}


def response_of(completion: Body, response: Body) -> Body:
    """Return a whole answer as a response."""
    events = ResponseEvents(response)
    choice = _first_choice(completion)
    events.of({**completion, "choices": [{**choice, "delta": choice.get("message")}]})
    whole: Body = events.end()[-1]["response"]
    return whole


def _first_choice(body: Body) -> Body:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) and not first.get("index") else {}
