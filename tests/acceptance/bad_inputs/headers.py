"""Good requests under bad headers."""

from typing import Final

from tests.acceptance.bad_inputs.case import CANARY, HELLO, MODEL, NOBODYS, BadInput, getting, posting

_GOOD: Final = {"model": MODEL, "messages": HELLO}
_KEY: Final = CANARY.encode()

_OF_RUNS: Final[dict[str, dict[str, bytes]]] = {
    "empty idempotency key": {"Idempotency-Key": b""},
    "idempotency key without end": {"Idempotency-Key": b"k" * 201},
    "idempotency key with a tab": {"Idempotency-Key": b"a\tb"},
    "idempotency key beyond ASCII": {"Idempotency-Key": b"\xff\xfe"},
    "a provider's key as idempotency key": {"Idempotency-Key": _KEY},
    "unknown flow": {"Latchkey-Flow": b"no such flow"},
    "flow beyond ASCII": {"Latchkey-Flow": b"\xff\xfe"},
    "flow without end": {"Latchkey-Flow": b"f" * 5_000},
    "session without end": {"Latchkey-Session": b"s" * 5_000},
    "a key as session": {"Latchkey-Session": _KEY},
    "timeout is a word": {"Latchkey-Timeout": b"soon"},
    "timeout below nought": {"Latchkey-Timeout": b"-1"},
    "timeout of nought": {"Latchkey-Timeout": b"0"},
    "timeout is no number": {"Latchkey-Timeout": b"NaN"},
    "timeout without end": {"Latchkey-Timeout": b"Infinity"},
    "timeout beyond floats": {"Latchkey-Timeout": b"1e400"},
    "two keys in one": {"X-OpenAI-Key": _KEY + b" " + _KEY},
    "a key with a tab": {"X-OpenAI-Key": _KEY + b"\t1"},
    "a key beyond ASCII": {"X-OpenAI-Key": _KEY + b"\xe9"},
    "an empty key": {"X-OpenAI-Key": b""},
    "a key without end": {"X-OpenAI-Key": _KEY * 300},
    "an empty provider key": {"X-Provider-Key": b""},
    "a session token without end": {"X-OpenAI-Key": b"lks_" + b"x" * 13_000},
    "a session token beyond ASCII": {"X-OpenAI-Key": b"lks_\xff"},
    "a gateway's key without its address": {"X-Gateway-Key": _KEY},
    "a gateway by ftp": {"X-Gateway-Key": _KEY, "X-Gateway-Base-URL": b"ftp://example.org/v1"},
    "a gateway that is no URL": {"X-Gateway-Key": _KEY, "X-Gateway-Base-URL": b"not a url"},
    "a gateway with the key in its address": {
        "X-Gateway-Key": _KEY,
        "X-Gateway-Base-URL": b"https://example.org/" + _KEY,
    },
    "a gateway with a user": {"X-Gateway-Key": _KEY, "X-Gateway-Base-URL": b"https://u:p@example.org/v1"},
}
_INNER: Final = (
    "http://example.org/v1",
    "https://127.0.0.1/v1",
    "https://localhost/v1",
    "https://169.254.169.254/latest",
    "https://[::1]/v1",
    "https://[::ffff:10.0.0.1]/v1",
    "https://0x7f.1/v1",
    "https://2130706433/v1",
    "https://example.org:8443/v1",
    "https://vault/v1",
)
"""Addresses that may stand in a header and not be called."""
_LAST_EVENTS: Final[dict[str, bytes]] = {
    "a word": b"latest",
    "below nought": b"-1",
    "a fraction": b"1.5",
    "without end": b"9" * 100,
    "beyond ASCII": b"\xff",
    "Arabic digits": "٣".encode(),
}

CASES: Final[tuple[BadInput, ...]] = (
    *(posting(name, "/v1/chat/completions", _GOOD, headers=sent) for name, sent in _OF_RUNS.items()),
    *(posting(name, "/api/runs", _GOOD, headers=sent) for name, sent in _OF_RUNS.items()),
    *(
        posting(
            f"a gateway at {address}",
            "/v1/chat/completions",
            _GOOD,
            headers={"X-Gateway-Key": _KEY, "X-Gateway-Base-URL": address.encode()},
        )
        for address in _INNER
    ),
    *(
        getting(f"last event: {name}", f"/api/runs/{NOBODYS}/events", headers={"Last-Event-ID": value})
        for name, value in _LAST_EVENTS.items()
    ),
)
