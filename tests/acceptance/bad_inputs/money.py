"""Credits that cannot be given or taken, and prices that nobody can pay."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import ASKED, CHAT, GRANTS, MODEL, Case, case

_ADJUSTMENTS: Final = "POST /api/admin/credits/adjustments"
_DEDUCTIONS: Final = "POST /api/user/deduct-credits"
_PRICE: Final = f"PUT /api/admin/prices/{MODEL}"
_GRANT: Final = {"user_id": "u", "credits": 1, "idempotency_key": "k"}
_AMOUNTS: Final[dict[str, Any]] = {
    "none": 0,
    "fewer than none": -1,
    "not a number": "NaN",
    "infinitely many": "Infinity",
    "too fine": "0.0000001",
    "too fine a number": 0.0000001,
    "too many": "1" + "0" * 30,
    "one too many": 1_000_000_001,
    "an exponent": "1e3",
    "underscores": "1_000",
    "a comma": "1,5",
    "Arabic digits": "\u0661",
    "a space": " 1",
    "a plus": "+1",
    "true": True,
    "null": None,
    "a list": [1],
    "nothing": "",
}
_ADJUSTMENT: Final = {**_GRANT, "reason": "because"}
_PRICES: Final[dict[str, dict[str, Any]]] = {
    "no price": {},
    "half a price": {"input_usd": "1"},
    "less than nothing": {"input_usd": "-1", "output_usd": "1"},
    "a price that is true": {"input_usd": True, "output_usd": "1"},
    "an exponent": {"input_usd": "1e3", "output_usd": "1"},
    "not a number": {"input_usd": "NaN", "output_usd": "1"},
    "beyond measure": {"input_usd": 1_000_001, "output_usd": "1"},
    "too fine": {"input_usd": "0.0000000001", "output_usd": "1"},
    "a list": {"input_usd": ["1"], "output_usd": "1"},
    "a currency": {"input_usd": "$1", "output_usd": "1"},
    "a rate there is not": {"input_usd": "1", "output_usd": "1", "input_eur": "1"},
    "tiers that fall": {
        "input_usd": {"usd": 1, "tiers": [{"above": 9, "usd": 1}, {"above": 5, "usd": 1}]},
        "output_usd": 1,
    },
    "tiers that stand still": {
        "input_usd": {"usd": 1, "tiers": [{"above": 5, "usd": 1}] * 2},
        "output_usd": 1,
    },
    "a tier from nothing": {"input_usd": {"usd": 1, "tiers": [{"above": 0, "usd": 1}]}, "output_usd": 1},
    "nine tiers": {
        "input_usd": {"usd": 1, "tiers": [{"above": n + 1, "usd": 1} for n in range(9)]},
        "output_usd": 1,
    },
    "the past": {"input_usd": 1, "output_usd": 1, "valid_from": "2001-01-01T00:00:00Z"},
    "no time": {"input_usd": 1, "output_usd": 1, "valid_from": "tomorrow"},
    "a number of seconds": {"input_usd": 1, "output_usd": 1, "valid_from": 4_000_000_000},
    "a time without a zone": {"input_usd": 1, "output_usd": 1, "valid_from": "2990-01-01T00:00:00"},
    "the end of time": {"input_usd": 1, "output_usd": 1, "valid_from": "9999-12-31T23:59:59-14:00"},
    "the beginning of time": {"input_usd": 1, "output_usd": 1, "valid_from": "0001-01-01T00:00:00+14:00"},
}

CASES: Final[tuple[Case, ...]] = (
    *(case(f"granting {name}", GRANTS, {**_GRANT, "credits": amount}) for name, amount in _AMOUNTS.items()),
    case("granting nothing at all", GRANTS, {}),
    case("granting without an amount", GRANTS, {"user_id": "u", "idempotency_key": "k"}),
    case("granting to nobody", GRANTS, {**_GRANT, "user_id": ""}),
    case("granting to a list", GRANTS, {**_GRANT, "user_id": ["u"]}),
    case("adjusting by nothing", _ADJUSTMENTS, {**_ADJUSTMENT, "credits": 0}),
    case("adjusting by less than nothing of it", _ADJUSTMENTS, {**_ADJUSTMENT, "credits": "-0"}),
    case("adjusting by too much", _ADJUSTMENTS, {**_ADJUSTMENT, "credits": -1_000_000_001}),
    case("adjusting for no reason", _ADJUSTMENTS, {**_ADJUSTMENT, "reason": ""}),
    case("adjusting a run that is none", _ADJUSTMENTS, {**_ADJUSTMENT, "run_id": "mine"}),
    case("deducting nothing", _DEDUCTIONS, {}),
    case("deducting less than nothing", _DEDUCTIONS, {"feature": "x", "credits": -1, "idempotency_key": "k"}),
    case("deducting for no feature", _DEDUCTIONS, {"credits": 1, "idempotency_key": "k"}),
    case("deducting without a key", _DEDUCTIONS, {"feature": "x", "credits": 1}),
    *(case(f"a price: {name}", _PRICE, price) for name, price in _PRICES.items()),
    case("a price of no model", "PUT /api/admin/prices/nobody/gpt", {"input_usd": 1, "output_usd": 1}),
    case("a price of a key", "PUT /api/admin/prices/openai/<canary>", {"input_usd": 1, "output_usd": 1}),
    case("reading a price of no model", "GET /api/admin/prices/nobody/gpt"),
    case("withdrawing a price of no model", "DELETE /api/admin/prices/nobody/gpt"),
    case("withdrawing a price at no time", f"DELETE /api/admin/prices/{MODEL}?valid_from=x"),
    case(
        "withdrawing a price in the past", f"DELETE /api/admin/prices/{MODEL}?valid_from=2001-01-01T00:00:00Z"
    ),
    case(
        "a run that nobody can price",
        CHAT,
        {**ASKED, "model": "openai/no-such-model"},
        code="price_unknown",
        headers={"Latchkey-Flow": "deep_analysis"},
    ),
)
