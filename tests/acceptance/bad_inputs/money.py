"""Credits and prices that do not add up."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import NOBODYS, BadInput, posting

_GRANT: Final[dict[str, Any]] = {"user_id": "bad-input", "credits": 1, "idempotency_key": "k"}
_AMOUNTS: Final[dict[str, Any]] = {
    "no number": "NaN",
    "without end": "Infinity",
    "too fine": "0.0000001",
    "too much": "1" + "0" * 30,
    "with an exponent": "1e3",
    "with underscores": "1_000",
    "in full width": "\uff11\uff10",
    "hexadecimal": "0x10",
    "empty": "",
    "true": True,
    "a list": [1],
    "null": None,
}
_GRANTS: Final[dict[str, Any]] = {
    "an empty object": {},
    "no credits": {"user_id": "u", "idempotency_key": "k"},
    "below nought": {**_GRANT, "credits": -1},
    "nought": {**_GRANT, "credits": 0},
    "for nobody": {**_GRANT, "user_id": ""},
    "for a number": {**_GRANT, "user_id": 5},
    "for a NUL": {**_GRANT, "user_id": "a\x00b"},
    "for a name without end": {**_GRANT, "user_id": "u" * 5_000},
    "no idempotency key": {"user_id": "u", "credits": 1},
    "empty idempotency key": {**_GRANT, "idempotency_key": ""},
    "idempotency key without end": {**_GRANT, "idempotency_key": "k" * 5_000},
}
_ADJUST: Final[dict[str, Any]] = {**_GRANT, "reason": "a reason"}
_ADJUSTMENTS: Final[dict[str, Any]] = {
    "no reason": _GRANT,
    "empty reason": {**_ADJUST, "reason": ""},
    "reason without end": {**_ADJUST, "reason": "r" * 50_000},
    "reason with a NUL": {**_ADJUST, "reason": "a\x00b"},
    "of no run": {**_ADJUST, "run_id": "not-an-id"},
    "of nought": {**_ADJUST, "credits": 0},
}
_DEDUCTIONS: Final[dict[str, Any]] = {
    "an empty object": {},
    "run is a word": {"run_id": "mine"},
    "run is a number": {"run_id": 5},
    "feature alone": {"feature": "search"},
    "feature without a key": {"feature": "search", "credits": 1},
    "feature below nought": {"feature": "search", "credits": -1, "idempotency_key": "k"},
    "feature of nought": {"feature": "search", "credits": 0, "idempotency_key": "k"},
    "feature without end": {"feature": "f" * 5_000, "credits": 1, "idempotency_key": "k"},
    "feature with a NUL": {"feature": "a\x00b", "credits": 1, "idempotency_key": "k"},
    "feature is a number": {"feature": 5, "credits": 1, "idempotency_key": "k"},
    "both ids, and not the same": {"run_id": NOBODYS, "runId": NOBODYS.replace("0198", "0199")},
}
_PRICE: Final[dict[str, Any]] = {"input_usd": {"per_million": "1"}, "output_usd": {"per_million": "2"}}
_PRICES: Final[dict[str, Any]] = {
    "an empty object": {},
    "input alone": {"input_usd": {"per_million": "1"}},
    "input is a number": {**_PRICE, "input_usd": 1},
    "below nought": {**_PRICE, "input_usd": {"per_million": "-1"}},
    "a price that is no number": {**_PRICE, "input_usd": {"per_million": "NaN"}},
    "from yesterday's word": {**_PRICE, "valid_from": "yesterday"},
    "from no day": {**_PRICE, "valid_from": "2026-13-45T00:00:00Z"},
}

CASES: Final[tuple[BadInput, ...]] = (
    *(posting(name, "/api/admin/credits/grants", body, who="admin") for name, body in _GRANTS.items()),
    *(
        posting(f"credits {name}", "/api/admin/credits/grants", {**_GRANT, "credits": amount}, who="admin")
        for name, amount in _AMOUNTS.items()
    ),
    *(
        posting(name, "/api/admin/credits/adjustments", body, who="admin")
        for name, body in _ADJUSTMENTS.items()
    ),
    *(posting(name, "/api/user/deduct-credits", body) for name, body in _DEDUCTIONS.items()),
    *(
        posting(name, "/api/admin/prices/openai/gpt-4o-mini", body, who="admin").as_method("PUT")
        for name, body in _PRICES.items()
    ),
    posting("a user grants", "/api/admin/credits/grants", _GRANT, 403, code="forbidden"),
    posting("a user adjusts", "/api/admin/credits/adjustments", _ADJUST, 403, code="forbidden"),
    posting(
        "a user sets a price", "/api/admin/prices/openai/gpt-4o-mini", _PRICE, 403, code="forbidden"
    ).as_method("PUT"),
    posting(
        "a deduction for another's run",
        "/api/user/deduct-credits",
        {"run_id": NOBODYS},
        404,
        code="not_found",
    ),
)
