"""Bodies that are no JSON object at all, for each route that reads one."""

from typing import Final

from tests.acceptance.bad_inputs.case import NOBODYS, BadInput, Who, refusal_at

_BROKEN: Final[dict[str, bytes]] = {
    "nothing": b"",
    "broken UTF-8": b'{"model": "\xff\xfe\xc3("}',
    "overlong UTF-8": b'{"model": "\xc0\xaf"}',
    "a NUL between": b'{"model": "a\x00b"}',
    "a lone surrogate": b'{"model": "\\ud800", "service": "\\udfff"}',
    "arrays without end": b'{"messages":' + b"[" * 100_000,
    "objects without end": b'{"messages":' * 30_000,
    "deep and closed": b"[" * 5_000 + b"]" * 5_000,
    "cut short": b'{"model": "openai/gpt-4o-mini", "mess',
    "no number": b'{"model": NaN, "credits": Infinity, "limit": -Infinity}',
    "UTF-16": '{"model": "x"}'.encode("utf-16"),
    "two documents": b'{"model": "x"}{"model": "y"}',
    "a list": b"[1, 2, 3]",
    "null": b"null",
    "form fields": b"model=openai%2Fgpt-4o-mini&messages=hello",
}
_ROUTES: Final[tuple[tuple[str, str, Who], ...]] = (
    ("POST", "/v1/chat/completions", "user"),
    ("POST", "/v1/responses", "user"),
    ("POST", "/v1/embeddings", "user"),
    ("POST", "/api/runs", "user"),
    ("POST", "/api/councils", "user"),
    ("POST", "/api/keys", "user"),
    ("PUT", f"/api/keys/{NOBODYS}", "user"),
    ("POST", "/settings/model", "user"),
    ("PUT", "/api/models/pinned", "user"),
    ("POST", "/api/user/deduct-credits", "user"),
    ("POST", "/api/admin/credits/grants", "admin"),
    ("PUT", "/api/admin/prices/openai/gpt-4o-mini", "admin"),
)

CASES: Final = tuple(
    BadInput(name, method, path, refusal_at(path), body=body, who=who)
    for method, path, who in _ROUTES
    for name, body in _BROKEN.items()
)
