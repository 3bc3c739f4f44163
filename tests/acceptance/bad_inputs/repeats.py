"""Idempotency keys that have been used for something else."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import HELLO, MODEL, BadInput, posting

_OTHER: Final = [{"role": "user", "content": "something else"}]


def _again(path: str, first: Any, then: Any, other_path: str | None = None) -> BadInput:
    """A second request under the first one's key, which a header has."""
    headers = {"Idempotency-Key": f"again{path}{other_path or ''}".encode()}
    before = posting("", path, first, 200, headers=headers)
    return posting(
        f"the key of {path}", other_path or path, then, 409, headers=headers, code="conflict", after=before
    )


_CHAT: Final = {"model": MODEL, "messages": HELLO}
_COUNCIL: Final = {"members": [MODEL], "messages": HELLO}
_GRANT: Final[dict[str, Any]] = {"user_id": "again", "credits": 1, "idempotency_key": "again"}
_ADJUST: Final[dict[str, Any]] = {**_GRANT, "idempotency_key": "again too", "reason": "because"}

CASES: Final[tuple[BadInput, ...]] = (
    _again("/v1/chat/completions", _CHAT, {**_CHAT, "messages": _OTHER}),
    _again("/api/runs", _CHAT, {**_CHAT, "messages": _OTHER}),
    _again("/api/runs", {**_CHAT, "kind": "text"}, {**_CHAT, "kind": "json"}, "/v1/chat/completions"),
    _again("/api/councils", _COUNCIL, {**_COUNCIL, "messages": _OTHER}),
    posting(
        "a grant's key for another amount",
        "/api/admin/credits/grants",
        {**_GRANT, "credits": 2},
        409,
        code="conflict",
        who="admin",
        after=posting("", "/api/admin/credits/grants", _GRANT, 200, who="admin"),
    ),
    posting(
        "a grant's key for another user",
        "/api/admin/credits/grants",
        {**_GRANT, "user_id": "somebody else"},
        409,
        code="conflict",
        who="admin",
        after=posting("", "/api/admin/credits/grants", _GRANT, 200, who="admin"),
    ),
    posting(
        "an adjustment's key for another amount",
        "/api/admin/credits/adjustments",
        {**_ADJUST, "credits": 2},
        409,
        code="conflict",
        who="admin",
        after=posting("", "/api/admin/credits/adjustments", _ADJUST, 200, who="admin"),
    ),
)
