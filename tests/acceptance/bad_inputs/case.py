"""One bad request, and how it is to be refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import orjson

CANARY: Final = "sk-canary-0bad1bad2bad3bad4bad5bad6bad7"
"""Where a case has a key in it, this one: it must come back in no answer, and stand in no log."""
MODEL: Final = "openai/gpt-4o-mini"
HELLO: Final = [{"role": "user", "content": "hello"}]
NOBODYS: Final = "0198c0de-0000-7000-8000-000000000000"
"""An id that nothing has."""

Who = Literal["user", "admin", "nobody"]


@dataclass(frozen=True)
class BadInput:
    """`status` and `code`: of the refusal. `after`: what is sent before it, and must succeed.

    `raw`: the bytes of the whole request, for what no HTTP client would send; `{token}` and `{host}` are
    filled in.
    """

    name: str
    method: str
    path: str
    status: int
    code: str = "invalid_request"
    body: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    who: Who = "user"
    after: "BadInput | None" = None
    raw: bytes | None = None

    @property
    def id(self) -> str:
        path = self.path if len(self.path) < 60 else f"{self.path[:24]}…{self.path[-24:]}"
        return f"{self.method} {path}: {self.name}"

    def as_method(self, method: str) -> "BadInput":
        return replace(self, method=method)


def posting(name: str, path: str, body: Any, status: int | None = None, **more: Any) -> BadInput:
    """A POST of JSON, or of bytes as they are."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return BadInput(name, "POST", path, status or refusal_at(path), body=content, **more)


def getting(name: str, path: str, status: int | None = None, **more: Any) -> BadInput:
    return BadInput(name, "GET", path, status or refusal_at(path), **more)


def refusal_at(path: str) -> int:
    """How bad input is answered: as OpenAI does under `/v1`, as problem+json (RFC 9457) elsewhere."""
    return 400 if path.startswith("/v1/") else 422
