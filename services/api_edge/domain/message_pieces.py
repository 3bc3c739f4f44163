"""A chat's message, put together of what a stream told of it."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any


class MessagePieces:
    """Takes a stream's deltas; its text is kept by whoever tells it."""

    def __init__(self) -> None:
        self._is_told = False
        self._role: str | None = None
        self._refusals: list[str] = []
        self._calls: list[tuple[int, _CallPieces]] = []
        self._going_on: dict[int, _CallPieces] = {}
        self._last_call = -1
        self._function = _CallPieces()

    def take(self, delta: Mapping[str, Any]) -> None:
        self._is_told = self._is_told or bool(delta)
        role, refusal, calls = delta.get("role"), delta.get("refusal"), delta.get("tool_calls")
        self._role = self._role or (role if isinstance(role, str) else None)
        if isinstance(refusal, str):
            self._refusals.append(refusal)
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                self._call_of(call).take(call)
        if isinstance(delta.get("function_call"), dict):
            self._function.take({"function_call": delta["function_call"]})

    def whole(self, text: str) -> dict[str, Any] | None:
        """Return the message as it would have come whole; None when nothing was told of one."""
        if not self._is_told:
            return None
        refusal = "".join(self._refusals)
        calls = [pieces.whole() for _, pieces in sorted(self._calls, key=itemgetter(0))]
        rest = {
            **({"refusal": refusal} if refusal else {}),
            **({"tool_calls": calls} if calls else {}),
            **self._function.whole(),
        }
        return {"role": self._role or "assistant", "content": None if rest and not text else text, **rest}

    def _call_of(self, delta: Mapping[str, Any]) -> "_CallPieces":
        """Calls are told apart by `index`, and by `id`: some providers give them all one index, or none."""
        index, last = delta.get("index"), self._last_call
        if not isinstance(index, int):
            index = last + 1 if delta.get("id") or last < 0 else last
        self._last_call = index
        call = self._going_on.get(index)
        if call is None or call.is_not(delta.get("id")):
            call = self._going_on[index] = _CallPieces()
            self._calls.append((index, call))
        return call


class _CallPieces:
    """The texts of a call's parts come in pieces (`arguments`); names, and all else, come once."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}
        self._parts: dict[str, dict[str, Any]] = {}
        self._texts: dict[tuple[str, str], list[str]] = {}

    def is_not(self, call_id: object) -> bool:
        return bool(call_id) and self._told.get("id", call_id) != call_id

    def take(self, delta: Mapping[str, Any]) -> None:
        for name, value in delta.items():
            if isinstance(value, dict):
                self._take_part(name, value)
            elif value is not None and name != "index":
                self._told.setdefault(name, value)

    def _take_part(self, part: str, delta: Mapping[str, Any]) -> None:
        told = self._parts.setdefault(part, {})
        for name, value in delta.items():
            if isinstance(value, str) and name != "name":
                told.setdefault(name, "")
                self._texts.setdefault((part, name), []).append(value)
            elif value:
                told.setdefault(name, value)

    def whole(self) -> dict[str, Any]:
        parts = {part: dict(told) for part, told in self._parts.items()}
        for (part, name), texts in self._texts.items():
            parts[part][name] = "".join(texts)
        return {**self._told, **parts}
