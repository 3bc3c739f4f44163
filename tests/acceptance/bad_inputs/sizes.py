"""More than one request may bring."""

from typing import Final

from tests.acceptance.bad_inputs.case import ASKED, CHAT, GRANTS, KEYS, MODEL, NEW_KEY, RUNS, Case, case, raw

_MIB: Final = 1024 * 1024
_LONG: Final = "x" * 2_000_001
_HEAD: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer <user>\r\n"

CASES: Final[tuple[Case, ...]] = (
    case("a chat", CHAT, {**ASKED, "x": "x" * 11 * _MIB}, status=413),
    case("a run", RUNS, {**ASKED, "x": "x" * 11 * _MIB}, status=413),
    case("a key", KEYS, {**NEW_KEY, "x": "x" * 11 * _MIB}, status=413),
    case("a grant", GRANTS, {"user_id": "x" * 11 * _MIB}, status=413),
    raw("announced and waited for", _HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", 413),
    raw(
        "in pieces of unknown number",
        _HEAD
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"100000\r\n" + b"x" * _MIB + b"\r\n") * 11
        + b"0\r\n\r\n",
        413,
    ),
    case("a message", CHAT, {**ASKED, "messages": [{"role": "user", "content": _LONG}]}),
    case(
        "a message in parts",
        CHAT,
        {
            **ASKED,
            "messages": [{"role": "user", "content": [{"type": "text", "text": _LONG[:1_000_001]}] * 2}],
        },
    ),
    case("messages", CHAT, {**ASKED, "messages": [{"role": "user", "content": "x"}] * 2049}),
    case("an input", "POST /v1/responses", {"model": MODEL, "input": _LONG}),
    case("inputs", "POST /v1/embeddings", {"model": MODEL, "input": ["x"] * 2049}),
)
