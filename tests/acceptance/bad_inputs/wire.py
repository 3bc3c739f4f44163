"""What no HTTP client would send, byte by byte."""

from typing import Final

from tests.acceptance.bad_inputs.case import BadInput

_HEAD: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
_BODY: Final = b'{"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}'
_RAW: Final[dict[str, bytes]] = {
    "no HTTP": b"EHLO example.org\r\n\r\n",
    "a line feed in a header's name": _HEAD + b"Bad\nName: x\r\n\r\n",
    "a NUL in a header": _HEAD + b"Latchkey-Flow: a\x00b\r\ncontent-length: 2\r\n\r\n{}",
    "a space before the colon": _HEAD + b"Latchkey-Flow : chat\r\ncontent-length: 2\r\n\r\n{}",
    "two lengths": _HEAD + b"content-length: 2\r\ncontent-length: 79\r\n\r\n" + _BODY,
    "a length below nought": _HEAD + b"content-length: -1\r\n\r\n" + _BODY,
    "a length that is none": _HEAD + b"content-length: many\r\n\r\n" + _BODY,
    "a length and chunks": _HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks of no size": _HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a head without end": _HEAD + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n",
    "headers without end": _HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    "TLS": bytes.fromhex("160301020001000001fc0303") + b"\x00" * 32 + b"\r\n\r\n",
    "another version": b"GET /api/keys HTTP/9.9\r\nHost: {host}\r\n\r\n",
}

_TOO_LONG: Final = {"headers without end"}

CASES: Final = tuple(
    BadInput(name, "raw", "", 431 if name in _TOO_LONG else 400, raw=raw) for name, raw in _RAW.items()
)
