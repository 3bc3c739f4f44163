"""Queries of lists."""

from typing import Final

from tests.acceptance.bad_inputs.case import BadInput, getting

_PAGES: Final = ("limit=0", "limit=-1", "limit=x", "limit=99999999999999999999", "limit=1.5", "limit=")
_CURSORS: Final = ("cursor=%00%ff", "cursor=MQ==x", "cursor=" + "A" * 5_000)
_LISTS: Final = ("/api/usage", "/api/runs", "/api/credits/statement", "/api/models")
_OF_USAGE: Final = (
    "since=yesterday",
    "since=2026-13-01T00:00:00Z",
    "until=99999999999999999999",
    "until=%00",
    "key_source=mine",
    "flow=%00",
    "model=%00",
)

CASES: Final[tuple[BadInput, ...]] = (
    *(getting(query[:24], f"{path}?{query}") for path in _LISTS for query in (*_PAGES, *_CURSORS)),
    *(getting(query[:24], f"/api/usage?{query}") for query in _OF_USAGE),
    *(
        getting(f"an admin's {query}", f"/api/admin/usage?{query}", who="admin")
        for query in (*_OF_USAGE, "user_id=%00")
    ),
    getting("another list's cursor", "/api/credits/statement?cursor=MQ=="),
    getting("session with a NUL", "/api/runs?session_id=%00"),
    getting("search with a NUL", "/api/models?q=%00"),
    getting("unknown provider", "/api/models?provider=nobody"),
    getting("a user's look at all usage", "/api/admin/usage", 403, code="forbidden"),
    getting("a user's look at a statement", "/api/admin/credits/u/statement", 403, code="forbidden"),
    getting("a user's look at credits", "/api/admin/credits/u", 403, code="forbidden"),
    getting("a user's look at pools", "/api/admin/platform-keys", 403, code="forbidden"),
    getting("a user's look at prices", "/api/admin/prices", 403, code="forbidden"),
)
