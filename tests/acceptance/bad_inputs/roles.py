"""What is for others: administrators' routes, services' flows, methods and paths there are not."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import (
    ASKED,
    CHAT,
    FORBIDDEN,
    GRANTS,
    INVALID,
    MODEL,
    NOT_FOUND,
    RUNS,
    Case,
    Who,
    case,
)

_ADMINS: Final[tuple[tuple[str, Any], ...]] = (
    (GRANTS, {"user_id": "<foreign_user>", "credits": 5, "idempotency_key": "mine"}),
    (GRANTS, b"\xff"),
    (
        "POST /api/admin/credits/adjustments",
        {"user_id": "u", "credits": 5, "reason": "x", "idempotency_key": "m"},
    ),
    ("GET /api/admin/credits/<foreign_user>", b""),
    ("GET /api/admin/credits/<foreign_user>/statement", b""),
    ("GET /api/admin/usage", b""),
    ("GET /api/admin/usage?user_id=<foreign_user>", b""),
    ("GET /api/admin/prices", b""),
    (f"GET /api/admin/prices/{MODEL}", b""),
    (f"PUT /api/admin/prices/{MODEL}", {"input_usd": 0, "output_usd": 0}),
    (f"DELETE /api/admin/prices/{MODEL}", b""),
    ("GET /api/admin/platform-keys", b""),
    ("PATCH /api/admin/platform-keys/no", {"state": "ready"}),
    ("POST /api/admin/keys/revoke", {"user_id": "<foreign_user>"}),
    ("POST /api/admin/keys/rewrap", b""),
    ("PATCH /system/nodes/solver", {"key_policy": "system"}),
)
_METHODS: Final = (
    "GET /v1/chat/completions",
    "PUT /v1/responses",
    "DELETE /v1/models",
    "POST /api/credits",
    "DELETE /api/keys",
    "PATCH /api/runs/<own_run>",
    "POST /api/runs/<own_run>/events",
    "GET /api/runs/<own_run>/cancel",
    "PUT /api/user-settings",
    "TRACE /api/keys",
    "PROPFIND /api/keys",
)
_PATHS: Final = (
    "GET /nowhere",
    "GET /v1/nowhere",
    "GET /api/admin",
    "GET //api/keys",
    "GET /API/keys",
    "GET /api/keys%2f",
    "GET /api/..%2fapi/keys",
    "GET /api/keys;admin=1",
    "GET /.env",
    "GET /static-offline-docs/..%2f..%2fapp.py",
    "GET /static-offline-docs/%2e%2e/%2e%2e/app.py",
)

CASES: Final[tuple[Case, ...]] = (
    *(
        case(f"a user: {call}, {len(str(body))}", call, body, code=FORBIDDEN, who=Who.USER)
        for call, body in _ADMINS
    ),
    case("the services' flow", CHAT, ASKED, code=FORBIDDEN, headers={"Latchkey-Flow": "system"}),
    case("the services' flow in a body", RUNS, {**ASKED, "flow": "system"}, code=FORBIDDEN),
    case(
        "the services' flow, by an administrator",
        CHAT,
        ASKED,
        code=FORBIDDEN,
        who=Who.ADMIN,
        headers={"Latchkey-Flow": "system"},
    ),
    *(case(call, call, code=INVALID, status=405, who=Who.USER) for call in _METHODS),
    *(case(call, call, code=NOT_FOUND, who=Who.USER) for call in _PATHS),
)
