"""One bad input, as data: what is sent by whom, and the refusal that it must get.

In path, headers and body a `<name>` stands for what only a running house knows (see `stand.py`); `<canary>`
is a key, made up for each case, that nothing may tell again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MODEL: Final = "openai/gpt-4o-mini"
CHAT: Final = "POST /v1/chat/completions"
RUNS: Final = "POST /api/runs"
COUNCILS: Final = "POST /api/councils"
KEYS: Final = "POST /api/keys"
GRANTS: Final = "POST /api/admin/credits/grants"
MESSAGES: Final = [{"role": "user", "content": "hello"}]
ASKED: Final = {"model": MODEL, "messages": MESSAGES}
NEW_KEY: Final = {"service": "openai", "api_key": "<canary>"}
INVALID: Final = "invalid_request"
NOT_FOUND, FORBIDDEN, CONFLICT = "not_found", "forbidden", "conflict"
UNAUTHENTICATED: Final = "unauthenticated"
KEY_INVALID: Final = "user_api_key_invalid"
_STATUS: Final = {
    INVALID: 422,
    NOT_FOUND: 404,
    FORBIDDEN: 403,
    CONFLICT: 409,
    UNAUTHENTICATED: 401,
    KEY_INVALID: 403,
    "price_unknown": 422,
}

Headers = tuple[tuple[bytes, bytes], ...]


class Who(StrEnum):
    """Who asks. A case with an `Authorization` of its own is nobody's."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True)
class Case:
    """`call`: method and target. `raw`: all bytes of a request that no client would send, in place of it."""

    name: str
    call: str
    status: int
    code: str
    who: Who
    headers: Headers = ()
    body: bytes = b""
    raw: bytes | None = None

    @property
    def path(self) -> str:
        return self.call.partition(" ")[2].partition("?")[0]


def case(
    name: str,
    call: str,
    body: Any = b"",
    *,
    code: str = INVALID,
    status: int | None = None,
    who: Who | None = None,
    headers: Mapping[str, str | bytes] | None = None,
) -> Case:
    """`body`: bytes, or what is written as JSON. An administrator asks where only they may."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = status or (400 if code == INVALID and " /v1/" in call else _STATUS[code])
    asker = who or (Who.ADMIN if " /api/admin" in call or call.startswith("PATCH /system") else Who.USER)
    pairs = tuple((name.encode(), _latin(value)) for name, value in (headers or {}).items())
    return Case(name, call, told, code, asker, pairs, sent)


def raw(name: str, sent: bytes, status: int = 400, code: str = INVALID) -> Case:
    """A request of these very bytes; nothing is added."""
    return Case(name, "", status, code, Who.USER, raw=sent)


def _latin(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")
