"""Which entries of the stream are events that a service of ours published."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from infra.event_stream import Entry
from shared.contracts.message import TYPE_PREFIX
from shared.kernel.names import BILLING, INFERENCE

_PUBLISHERS: Final = {"usage": INFERENCE, "credits": BILLING}
_TOLD_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Event:
    """A CloudEvent at its offset. `type` is without the prefix, as `usage.recorded.v1`.

    `time`: when it happened, the same in every repeat; of usage, when the attempt ended.
    """

    offset: int
    id: str
    type: str
    time: datetime
    data: dict[str, Any]


class Checker:
    """Takes events from their publishers only: usage from inference, credits from billing.

    What others put there, or what is no CloudEvent, is told (the first 20 one by one) and counted.
    """

    def __init__(self, realm: str, tell: Callable[[str], None]) -> None:
        self._logins = {subject: f"{realm}_{service}" for subject, service in _PUBLISHERS.items()}
        self._tell = tell
        self.left_out = 0

    def check(self, entry: Entry) -> Event | None:
        """Return the event, or None for what is left out."""
        try:
            event = _event(entry)
        except (ValueError, TypeError, KeyError, AttributeError):
            self.leave_out(entry.offset, "it is no CloudEvent of ours")
            return None
        login = self._logins.get(event.type.partition(".")[0])
        if login is not None and entry.sender == login:
            return event
        said = f"{event.type[:80]!r} was published by {entry.sender or 'nobody known'}"
        self.leave_out(entry.offset, f"{said}, not by {login}" if login else said)
        return None

    def leave_out(self, offset: int, why: str) -> None:
        self.left_out += 1
        if self.left_out <= _TOLD_MAX:
            self._tell(f"left out offset {offset}: {why}")

    def conclude(self) -> None:
        """Tell how many there were in all, when not every one was told."""
        if self.left_out > _TOLD_MAX:
            self._tell(f"left out {self.left_out} entries in all")


def _event(entry: Entry) -> Event:
    found = orjson.loads(entry.body)
    name, kind, time, data = found["id"], found["type"], found["time"], found["data"]
    if found["specversion"] != "1.0" or not isinstance(name, str) or not isinstance(data, dict):
        raise ValueError("not a CloudEvent")
    if not name or not kind.startswith(TYPE_PREFIX):
        raise ValueError("not ours")
    made, ended = instant(time), data.get("finished_at")
    when = made if ended is None else instant(ended)
    return Event(entry.offset, name, kind.removeprefix(TYPE_PREFIX), when, data)


def instant(text: str) -> datetime:
    """Read an RFC 3339 time. Raises ValueError for one without a zone."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("a time without its zone")
    return when
