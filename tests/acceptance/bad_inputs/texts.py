"""The same evils in every text that is kept, shown or sent on."""

import json
from typing import Any, Final

from tests.acceptance.bad_inputs.case import (
    ASKED,
    COUNCILS,
    GRANTS,
    KEYS,
    MESSAGES,
    MODEL,
    NEW_KEY,
    RUNS,
    Case,
    case,
)

_EVIL: Final = "EVIL"
_ADJUSTMENTS: Final = "POST /api/admin/credits/adjustments"
_DEDUCTIONS: Final = "POST /api/user/deduct-credits"
_GRANT: Final = {"user_id": "u", "credits": 1, "idempotency_key": "k"}
_FEATURE: Final = {"feature": "export", "credits": 1, "idempotency_key": "k"}
_FIELDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "a new key's label": (KEYS, {**NEW_KEY, "label": _EVIL}),
    "a new key's address": (KEYS, {**NEW_KEY, "baseUrl": f"https://{_EVIL}.example.org/v1"}),
    "a new key's service": (KEYS, {**NEW_KEY, "service": _EVIL}),
    "a label that is changed": ("PATCH /api/keys/<own_key>", {"label": _EVIL}),
    "a label beside another key": ("PUT /api/keys/<own_key>", {"api_key": "<canary>", "label": _EVIL}),
    "a user who is granted": (GRANTS, {**_GRANT, "user_id": _EVIL}),
    "a grant's idempotency key": (GRANTS, {**_GRANT, "idempotency_key": _EVIL}),
    "an adjustment's reason": (_ADJUSTMENTS, {**_GRANT, "reason": _EVIL}),
    "a feature": (_DEDUCTIONS, {**_FEATURE, "feature": _EVIL}),
    "a deduction's idempotency key": (_DEDUCTIONS, {**_FEATURE, "idempotency_key": _EVIL}),
    "a user whose keys are revoked": ("POST /api/admin/keys/revoke", {"user_id": _EVIL}),
    "a flow's description": ("PATCH /system/nodes/chat", {"description": _EVIL}),
    "a flow's model": ("PATCH /system/nodes/chat", {"default_model": f"openai/{_EVIL}"}),
    "a pinned model": ("PUT /api/models/pinned", {"models": [f"openai/{_EVIL}"]}),
    "a chosen model": ("POST /settings/model", {"model": f"openai/{_EVIL}"}),
    "a chosen provider": ("POST /settings/model", {"model": "gpt", "provider": _EVIL}),
    "a run's model": (RUNS, {**ASKED, "model": f"openai/{_EVIL}"}),
    "a run's flow": (RUNS, {**ASKED, "flow": _EVIL}),
    "a run's session": (RUNS, {**ASKED, "session_id": _EVIL}),
    "a council's member": (COUNCILS, {"members": [f"openai/{_EVIL}"], "messages": MESSAGES}),
    "a council's session": (COUNCILS, {"members": [MODEL], "messages": MESSAGES, "session_id": _EVIL}),
}
_EVILS: Final = {
    "a NUL": r"a\u0000b",
    "a lone surrogate": r"a\ud800b",
    "a line end": r"a\r\nSet-Cookie: b",
    "text that runs backwards": r"a\u202eb",
    "a key": "<canary>",
    "a text beyond measure": "x" * 5_000,
}

CASES: Final[tuple[Case, ...]] = tuple(
    case(f"{evil} in {field}", call, json.dumps(body).replace(_EVIL, text).encode())
    for field, (call, body) in _FIELDS.items()
    for evil, text in _EVILS.items()
)
