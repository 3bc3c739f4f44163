"""Whether an answer is the right one."""

from typing import Any

import orjson

from tests.bench.versus.wire import PIECES, PLAIN, Kind


def fault_of(kind: Kind, status: int, body: bytes) -> str:
    """Say what is wrong with an answer: its status, its words, their number, its end; "" if nothing."""
    if status != 200:
        return f"status {status}"
    try:
        return _plain_fault(body) if kind is Kind.PLAIN else _stream_fault(body)
    except (ValueError, LookupError, TypeError, AttributeError):
        return "not an answer"


def _plain_fault(body: bytes) -> str:
    return "" if orjson.loads(body)["choices"][0]["message"]["content"] == PLAIN else "wrong words"


def _stream_fault(body: bytes) -> str:
    events = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
    if events.pop().strip() != b"[DONE]":
        return "no [DONE]"
    pieces = [piece for event in events if (piece := _piece(orjson.loads(event)))]
    if "".join(pieces) != "".join(PIECES):
        return "wrong words"
    return "" if len(pieces) == len(PIECES) else f"{len(pieces)} chunks"


def _piece(chunk: dict[str, Any]) -> str:
    choices = chunk["choices"]
    return choices[0]["delta"].get("content") or "" if choices else ""
