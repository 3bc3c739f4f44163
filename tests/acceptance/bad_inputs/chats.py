"""Requests for runs whose JSON is good and whose meaning is not."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import CANARY, HELLO, MODEL, BadInput, posting

CHAT: Final = "/v1/chat/completions"
_MIB: Final = 1024 * 1024
_GOOD: Final[dict[str, Any]] = {"model": MODEL, "messages": HELLO}

_CHATS: Final[dict[str, Any]] = {
    "no messages": {"model": MODEL},
    "empty messages": {"model": MODEL, "messages": []},
    "messages are text": {"model": MODEL, "messages": "hello"},
    "messages are an object": {"model": MODEL, "messages": {"role": "user", "content": "x"}},
    "messages are numbers": {"model": MODEL, "messages": [1, 2]},
    "a message is null": {"model": MODEL, "messages": [None]},
    "model is a number": {"model": 7, "messages": HELLO},
    "model is a list": {"model": [MODEL], "messages": HELLO},
    "model is empty": {"model": "", "messages": HELLO},
    "model is a slash": {"model": "/", "messages": HELLO},
    "model without a name": {"model": "openai/", "messages": HELLO},
    "model with a NUL": {"model": "openai/gpt\x00", "messages": HELLO},
    "model with a line break": {"model": "openai/gpt\r\nX-Evil: 1", "messages": HELLO},
    "model without end": {"model": "openai/" + "x" * 10_000, "messages": HELLO},
    "unknown model": {"model": "gpt-none", "messages": HELLO},
    "unknown provider": {"model": "nobody/gpt", "messages": HELLO},
    "provider that climbs": {"model": "../openai/gpt-4o-mini", "messages": HELLO},
    "a key for a model": {"model": CANARY, "messages": HELLO},
    "stream is text": {**_GOOD, "stream": "yes"},
    "stream is a number": {**_GOOD, "stream": 1},
    "max_tokens below nought": {**_GOOD, "max_tokens": -1},
    "the last of two models is none": b'{"model": "openai/gpt-4o-mini", "messages": [{"role": "user",'
    b' "content": "x"}], "model": 7}',
    "the last of two messages is none": b'{"model": "openai/gpt-4o-mini", "messages": [{"role": "user",'
    b' "content": "x"}], "messages": []}',
    "a huge number for messages": b'{"model": "openai/gpt-4o-mini", "messages": 1' + b"0" * 5_000 + b"}",
    "a surrogate in the model": b'{"model": "openai/\\ud800", "messages": [{"role": "user"}]}',
}
_RESPONSES: Final[dict[str, Any]] = {
    "no input": {"model": MODEL},
    "input is a number": {"model": MODEL, "input": 5},
    "input is null": {"model": MODEL, "input": None},
    "input is an object": {"model": MODEL, "input": {"role": "user"}},
    "stream is text": {"model": MODEL, "input": "x", "stream": "true"},
    "unknown model": {"model": "gpt-none", "input": "x"},
}
_EMBEDDINGS: Final[dict[str, Any]] = {
    "no input": {"model": MODEL},
    "no model": {"input": "x"},
    "input is an object": {"model": MODEL, "input": {"text": "x"}},
}
_RUNS: Final[dict[str, Any]] = {
    "unknown kind": {**_GOOD, "kind": "video"},
    "kind is a list": {**_GOOD, "kind": ["text"]},
    "no messages": {"model": MODEL},
    "messages are text": {"model": MODEL, "messages": "hello"},
    "flow is a number": {**_GOOD, "flow": 5},
    "flow that is not there": {**_GOOD, "flow": "no such flow"},
    "session is a number": {**_GOOD, "session_id": 5},
    "session_id without end": {**_GOOD, "session_id": "s" * 5_000},
    "session with a NUL": {**_GOOD, "session_id": "a\x00b"},
    "a key for a session": {**_GOOD, "session_id": CANARY},
    "unknown model": {"model": "gpt-none", "messages": HELLO},
}
_COUNCILS: Final[dict[str, Any]] = {
    "no members": {"messages": HELLO},
    "empty members": {"members": [], "messages": HELLO},
    "members are text": {"members": MODEL, "messages": HELLO},
    "a member is a number": {"members": [5], "messages": HELLO},
    "too many members": {"members": [f"openai/m{n}" for n in range(200)], "messages": HELLO},
    "an unknown member": {"members": ["gpt-none"], "messages": HELLO},
    "a key for a member": {"members": [CANARY], "messages": HELLO},
    "no messages": {"members": [MODEL]},
    "empty messages": {"members": [MODEL], "messages": []},
    "model is a number": {"members": [MODEL], "model": 5, "messages": HELLO},
    "unknown flow": {"members": [MODEL], "messages": HELLO, "flow": "no such flow"},
}

CASES: Final[tuple[BadInput, ...]] = (
    *(posting(name, CHAT, body) for name, body in _CHATS.items()),
    *(posting(name, "/v1/responses", body) for name, body in _RESPONSES.items()),
    *(posting(name, "/v1/embeddings", body) for name, body in _EMBEDDINGS.items()),
    *(posting(name, "/api/runs", body) for name, body in _RUNS.items()),
    *(posting(name, "/api/councils", body) for name, body in _COUNCILS.items()),
    posting(
        "nine MiB", CHAT, {"model": MODEL, "messages": [{"role": "user", "content": "x" * 9 * _MIB}]}, 413
    ),
)
