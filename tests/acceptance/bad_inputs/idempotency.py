"""Idempotency keys: used before for something else, and such as can be none."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import (
    ASKED,
    CHAT,
    CONFLICT,
    COUNCILS,
    GRANTS,
    MESSAGES,
    MODEL,
    RUNS,
    Case,
    case,
)

_ADJUSTMENTS: Final = "POST /api/admin/credits/adjustments"
_DEDUCTIONS: Final = "POST /api/user/deduct-credits"
_HEADER: Final = "Idempotency-Key"
RUN_KEY, COUNCIL_KEY, FEATURE_KEY = "used-by-a-run", "used-by-a-council", "used-by-a-feature"
"""What `stand.py` uses them for: `ASKED`, `COUNCIL` and `FEATURE`; `<granted>` is grant and adjustment."""
_OTHER: Final = {**ASKED, "messages": [{"role": "user", "content": "something else"}]}
COUNCIL: Final = {"members": [MODEL], "messages": MESSAGES}
_RUNS: Final[tuple[tuple[str, str, Any, dict[str, str]], ...]] = (
    ("other messages", RUNS, _OTHER, {}),
    ("another model", RUNS, {**ASKED, "model": "openai/gpt-4o"}, {}),
    ("another parameter", RUNS, {**ASKED, "temperature": 0.5}, {}),
    ("another kind", RUNS, {**ASKED, "kind": "stream"}, {}),
    ("the same in other bytes", RUNS, b'{"messages":[{"role":"user","content":"hello"}]}', {}),
    ("another flow", RUNS, ASKED, {"Latchkey-Flow": "solver"}),
    ("another endpoint", CHAT, ASKED, {}),
    ("another endpoint, streamed", CHAT, {**ASKED, "stream": True}, {}),
    ("Responses", "POST /v1/responses", {"model": MODEL, "input": "hello"}, {}),
)
_COUNCILS: Final[tuple[tuple[str, Any], ...]] = (
    ("other members", {**COUNCIL, "members": [MODEL, MODEL]}),
    ("other messages", {**COUNCIL, "messages": _OTHER["messages"]}),
)
FEATURE: Final = {"feature": "export", "credits": 1, "idempotency_key": FEATURE_KEY}
GRANT: Final = {"user_id": "<granted>", "credits": 1, "idempotency_key": "<granted>"}
ADJUSTMENT: Final = {**GRANT, "reason": "mended"}
_MOVES: Final[tuple[tuple[str, str, Any], ...]] = (
    ("a grant of more", GRANTS, {**GRANT, "credits": 2}),
    ("a grant of a little more", GRANTS, {**GRANT, "credits": "1.000001"}),
    ("a grant to another", GRANTS, {**GRANT, "user_id": "<foreign_user>"}),
    ("an adjustment by more", _ADJUSTMENTS, {**ADJUSTMENT, "credits": 2}),
    ("an adjustment the other way", _ADJUSTMENTS, {**ADJUSTMENT, "credits": -1}),
    ("an adjustment for another reason", _ADJUSTMENTS, {**ADJUSTMENT, "reason": "other"}),
    ("an adjustment of a run", _ADJUSTMENTS, {**ADJUSTMENT, "run_id": "<own_run>"}),
)
_KEYS: Final[dict[str, str | bytes]] = {
    "none": "",
    "spaces": "   ",
    "beyond measure": "k" * 201,
    "a tab": "a\tb",
    "accents": "chiavè",
    "bytes that are no text": b"\xff\xfe",
    "a provider's key": "<canary>",
    "a token": "<user>",
}

CASES: Final[tuple[Case, ...]] = (
    *(
        case(f"a run's: {name}", call, body, code=CONFLICT, headers={_HEADER: RUN_KEY, **headers})
        for name, call, body, headers in _RUNS
    ),
    *(
        case(f"a council's: {name}", COUNCILS, body, code=CONFLICT, headers={_HEADER: COUNCIL_KEY})
        for name, body in _COUNCILS
    ),
    *(case(f"a grant's: {name}", call, body, code=CONFLICT) for name, call, body in _MOVES),
    case("a deduction's: more", _DEDUCTIONS, {**FEATURE, "credits": 2}, code=CONFLICT),
    case("a deduction's: another feature", _DEDUCTIONS, {**FEATURE, "feature": "other"}, code=CONFLICT),
    *(case(f"of a chat: {name}", CHAT, ASKED, headers={_HEADER: key}) for name, key in _KEYS.items()),
    case("of a council: a provider's key", COUNCILS, COUNCIL, headers={_HEADER: "<canary>"}),
    case("in a grant: a number", GRANTS, {**GRANT, "idempotency_key": 7}),
    case("in a grant: none", GRANTS, {**GRANT, "idempotency_key": ""}),
    case("in a grant: left out", GRANTS, {"user_id": "u", "credits": 1}),
)
