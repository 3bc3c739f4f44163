"""The one flat schema of all events of the stream. docs/analytics.md explains each column."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias

from infra.analytics.checking import Event, instant
from shared.kernel.names import KeySource

Value: TypeAlias = str | int | float | bool | datetime | None
Row: TypeAlias = list[Value]


class Kind(StrEnum):
    """What a column holds; times are UTC."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    TRUTH = "boolean"
    TIME = "timestamp"


_TEXT, _INTEGER, _TIME = Kind.TEXT, Kind.INTEGER, Kind.TIME

COLUMNS: Final[dict[str, Kind]] = {
    "offset": _INTEGER,
    "id": _TEXT,
    "type": _TEXT,
    "time": _TIME,
    "user_id": _TEXT,
    "run_id": _TEXT,
    "attempt": _INTEGER,
    "usage_id": _TEXT,
    "flow": _TEXT,
    "session_id": _TEXT,
    "policy": _TEXT,
    "key_source": _TEXT,
    "is_byok": Kind.TRUTH,
    "credential_id": _TEXT,
    "credential_version": _INTEGER,
    "consent_id": _TEXT,
    "would_refuse_policy": _TEXT,
    "service": _TEXT,
    "provider": _TEXT,
    "model": _TEXT,
    "stream": Kind.TRUTH,
    "outcome": _TEXT,
    "error_code": _TEXT,
    "error_detail": _TEXT,
    "retry_after_s": Kind.NUMBER,
    "tokens_source": _TEXT,
    "prompt_tokens": _INTEGER,
    "completion_tokens": _INTEGER,
    "cached_tokens": _INTEGER,
    "cache_write_tokens": _INTEGER,
    "reasoning_tokens": _INTEGER,
    "queue_ms": _INTEGER,
    "resolve_ms": _INTEGER,
    "first_token_ms": _INTEGER,
    "total_ms": _INTEGER,
    "requested_at": _TIME,
    "started_at": _TIME,
    "finished_at": _TIME,
    "provider_request_id": _TEXT,
    "provider_cost_usd": _TEXT,
    "price_version": _TEXT,
    "cost_micros": _INTEGER,
    "charged_micros": _INTEGER,
    "receivable_micros": _INTEGER,
    "amount_micros": _INTEGER,
    "repaid_micros": _INTEGER,
    "transfer_id": _TEXT,
    "cause": _TEXT,
    "reason": _TEXT,
    "made_by": _TEXT,
    "idempotency_key": _TEXT,
}
PLACES: Final = {name: place for place, name in enumerate(COLUMNS)}

_OWN: Final = {"offset", "id", "type", "time", "is_byok", "tokens_source", "made_by"}
_TOKENS: Final = ("prompt", "completion", "cached", "cache_write", "reasoning")
_BYOK: Final = frozenset(source.value for source in KeySource if source.is_byok)
_KEY_SOURCE, _IS_BYOK = PLACES["key_source"], PLACES["is_byok"]
_TOKENS_SOURCE, _MADE_BY = PLACES["tokens_source"], PLACES["made_by"]


def row(event: Event) -> Row:
    """Return an event as one row, in the order of `COLUMNS`.

    A field that the schema does not know is left out. Raises TypeError, ValueError for a value that is not
    what its column holds.
    """
    found: Row = [None] * len(COLUMNS)
    found[:4] = (event.offset, event.id, event.type, event.time)
    for name, value in event.data.items():
        if value is not None and (field := _FIELDS.get(name)):
            place, read = field
            found[place] = read(value)
    if tokens := event.data.get("tokens"):
        _fill_tokens(found, tokens)
    if source := found[_KEY_SOURCE]:
        found[_IS_BYOK] = source in _BYOK
    return found


def _fill_tokens(found: Row, tokens: dict[str, Any]) -> None:
    found[_TOKENS_SOURCE] = _text(tokens["source"])
    for name in _TOKENS:
        found[PLACES[f"{name}_tokens"]] = _integer(tokens.get(name, 0))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise TypeError("not an integer of 64 bits")
    return value


def _number(value: Any) -> float:
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


_READERS: Final[dict[Kind, Callable[[Any], Value]]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.TRUTH: _truth,
    Kind.TIME: instant,
}
_FIELDS: Final = {
    **{name: (PLACES[name], _READERS[kind]) for name, kind in COLUMNS.items() if name not in _OWN},
    "granted_by": (_MADE_BY, _text),
    "adjusted_by": (_MADE_BY, _text),
}
