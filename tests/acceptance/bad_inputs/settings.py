"""What a user may choose, chosen wrongly."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import CANARY, MODEL, BadInput, posting

_MODELS: Final[dict[str, Any]] = {
    "an empty object": {},
    "model is a number": {"model": 5},
    "model is empty": {"model": ""},
    "model with a NUL": {"model": "openai/\x00"},
    "unknown model": {"model": "gpt-none"},
    "unknown provider": {"model": "gpt", "provider": "nobody"},
    "a key for a model": {"model": CANARY},
    "too hot": {"model": MODEL, "parameters": {"temperature": 3}},
    "no temperature": {"model": MODEL, "parameters": {"temperature": "warm"}},
    "no tokens": {"model": MODEL, "parameters": {"max_tokens": 0}},
    "tokens beyond integers": {"model": MODEL, "parameters": {"max_tokens": 2**63}},
    "a parameter of nobody's": {"model": MODEL, "parameters": {"seed_of_evil": 1}},
    "parameters are a list": {"model": MODEL, "parameters": [1]},
}
_PINNED: Final[dict[str, Any]] = {
    "an empty object": {},
    "models are text": {"models": MODEL},
    "a model is a number": {"models": [5]},
    "too many": {"models": [f"openai/m{n}" for n in range(5_000)]},
    "with a NUL": {"models": ["openai/\x00"]},
    "a key": {"models": [CANARY]},
}
_CONSENT: Final[dict[str, Any]] = {
    "consent is text": {"allowPlatformFallback": "yes"},
    "consent is a number": {"allowPlatformFallback": 1},
    "consent is a list": {"allow_gateway_fallback": [True]},
}
_FLOWS: Final[dict[str, Any]] = {
    "an empty object": {},
    "unknown policy": {"key_policy": "anything goes"},
    "policy is a number": {"key_policy": 5},
    "description without end": {"description": "d" * 100_000},
    "description with a NUL": {"description": "a\x00b"},
    "report_only is text": {"report_only": "yes"},
    "unknown model": {"default_model": "gpt-none"},
}

CASES: Final[tuple[BadInput, ...]] = (
    *(posting(name, "/settings/model", body) for name, body in _MODELS.items()),
    *(posting(name, "/api/models/pinned", body).as_method("PUT") for name, body in _PINNED.items()),
    *(posting(name, "/api/user-settings", body) for name, body in _CONSENT.items()),
    *(
        posting(name, "/system/nodes/chat", body, who="admin").as_method("PATCH")
        for name, body in _FLOWS.items()
    ),
    posting(
        "a user changes a flow", "/system/nodes/chat", {"description": "mine"}, 403, code="forbidden"
    ).as_method("PATCH"),
    posting(
        "unknown flow", "/system/nodes/nobodys", {"description": "x"}, 404, code="not_found", who="admin"
    ).as_method("PATCH"),
)
