"""Heads: injected, smuggled, broken, repeated, beyond measure."""

from typing import Final

from tests.acceptance.bad_inputs.case import ASKED, CHAT, UNAUTHENTICATED, Case, case, raw

_GET: Final = (
    b"GET /api/credits HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nAuthorization: Bearer <user>\r\n"
)
_POST: Final = (
    b"POST /api/keys HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nAuthorization: Bearer <user>\r\n"
)
_RAW: Final = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 <canary>\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.9 <canary>\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version there is not": b"GET /api/keys HTTP/9.9\r\nHost: edge\r\n\r\n",
    "a method that is none": b"<canary> /api/keys HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a method in small letters": b"get /api/keys HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a space in the path": b"GET /api/keys <canary> HTTP/1.1\r\nHost: edge\r\n\r\n",
    "bytes in the path": b"GET /api/keys/\xff\xfe HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n",
    "a NUL in the path": b"GET /api/\x00keys HTTP/1.1\r\nHost: edge\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a NUL in a value": _GET + b"X-Evil: a\x00<canary>\r\n\r\n",
    "a carriage return in a value": _GET + b"X-Evil: a\rX-Admin: <canary>\r\n\r\n",
    "a line that goes on": _GET + b"X-Evil: a\r\n <canary>\r\n\r\n",
    "a space before the colon": _GET + b"X-Evil : <canary>\r\n\r\n",
    "a name with a space": _GET + b"X Evil: <canary>\r\n\r\n",
    "a name with bytes": _GET + b"X-\xff: <canary>\r\n\r\n",
    "a line without a colon": _GET + b"<canary>\r\n\r\n",
    "no name": _GET + b": <canary>\r\n\r\n",
    "a length that is a word": _POST + b"Content-Length: many\r\n\r\n",
    "a length below nothing": _POST + b"Content-Length: -1\r\n\r\n",
    "a length with a plus": _POST + b"Content-Length: +2\r\n\r\n{}",
    "a length beyond 64 bits": _POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "two lengths in one": _POST + b"Content-Length: 2, 3\r\n\r\n{} ",
    "a length and pieces": _POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": _POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a coding twice": _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a piece without a size": _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a piece longer than it says": _POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}<canary>\r\n0\r\n\r\n",
    "a piece of less than nothing": _POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
}
_TWICE: Final = (
    "Authorization: Bearer <admin>",
    "Latchkey-Flow: chat",
    "Idempotency-Key: b",
    "Latchkey-Session: b",
    "Latchkey-Timeout: 5",
    "X-OpenAI-Key: <canary>",
    "X-Provider-Key: <canary>",
    "X-Gateway-Base-URL: https://example.org",
)
_ASK: Final = b'{"messages": [{"role": "user", "content": "hello"}]}'
_FLOWS: Final[dict[str, str | bytes]] = {
    "none": "",
    "unknown": "no such flow",
    "in capitals": "CHAT",
    "two": "chat, solver",
    "beyond measure": "f" * 5_000,
    "bytes": b"\xff\xfe",
    "a key": "<canary>",
}
_SESSIONS: Final[dict[str, str | bytes]] = {
    "none": "",
    "beyond measure": "s" * 201,
    "a tab": "a\tb",
    "bytes": b"\x80\x81",
    "a key": "<canary>",
    "a session key": "<own_session>",
}


def _twice(line: str) -> Case:
    """The same header with the same value would do no harm, and is refused, too."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n"
    bearer = b"" if line.startswith("Auth") else b"Authorization: Bearer <user>\r\n"
    repeated = line.replace("<admin>", "<user>").encode() + b"\r\n" + line.encode() + b"\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(_ASK)
    return raw(f"twice: {line.partition(':')[0]}", head + bearer + repeated + length + _ASK)


CASES: Final[tuple[Case, ...]] = (
    *(raw(name, sent) for name, sent in _RAW.items()),
    raw("no version", b"GET /api/keys\r\n\r\n", 401, UNAUTHENTICATED),
    raw("a head beyond measure", _GET + b"X-Long: " + b"x" * 64 * 1024, 431),
    raw("headers beyond number", _GET + b"X: y\r\n" * 10_923, 431),
    raw(
        "no token, but a cookie",
        b"GET /api/credits HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: token=<user>\r\n\r\n",
        401,
        UNAUTHENTICATED,
    ),
    *(_twice(line) for line in _TWICE),
    *(case(f"a flow: {name}", CHAT, ASKED, headers={"Latchkey-Flow": flow}) for name, flow in _FLOWS.items()),
    *(
        case(f"a session: {name}", CHAT, ASKED, headers={"Latchkey-Session": name_})
        for name, name_ in _SESSIONS.items()
    ),
)
