"""What users and administrators decide: consent, models, flows."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import MODEL, Case, case

_CONSENT: Final = "POST /api/user-settings"
_PINNED: Final = "PUT /api/models/pinned"
_MODEL: Final = "POST /settings/model"
_FLOW: Final = "PATCH /system/nodes/chat"
_BODIES: Final[tuple[tuple[str, str, Any], ...]] = (
    ("no decision", _CONSENT, {}),
    ("a decision that is null", _CONSENT, {"allowPlatformFallback": None}),
    ("a decision as a text", _CONSENT, {"allowPlatformFallback": "false"}),
    ("a decision as a number", _CONSENT, {"allow_platform_fallback": 0}),
    ("a decision as a list", _CONSENT, {"allowGatewayFallback": [True]}),
    (
        "two decisions in two spellings",
        _CONSENT,
        {"allowPlatformFallback": True, "allow_platform_fallback": False},
    ),
    (
        "two decisions on the gateway",
        _CONSENT,
        {"allowGatewayFallback": False, "allow_gateway_fallback": True},
    ),
    ("a decision under another name", _CONSENT, {"ALLOWPLATFORMFALLBACK": True}),
    ("no models to pin", _PINNED, {}),
    ("one model to pin", _PINNED, {"models": MODEL}),
    ("models by their numbers", _PINNED, {"models": [1, 2]}),
    ("too many models to pin", _PINNED, {"models": [f"openai/m{n}" for n in range(101)]}),
    ("an unknown model to pin", _PINNED, {"models": [MODEL, "nobody/gpt"]}),
    ("no model to choose", _MODEL, {}),
    ("a model that is nothing", _MODEL, {"model": ""}),
    ("a model of no provider", _MODEL, {"model": "nobody/gpt"}),
    ("two providers of a model", _MODEL, {"model": MODEL, "provider": "anthropic"}),
    ("an unknown provider of a model", _MODEL, {"model": "gpt", "provider": "nobody"}),
    ("parameters that are a list", _MODEL, {"model": MODEL, "parameters": []}),
    ("a prompt among the parameters", _MODEL, {"model": MODEL, "parameters": {"messages": [{}]}}),
    ("nothing to change of a flow", _FLOW, {}),
    ("a policy there is not", _FLOW, {"key_policy": "free_for_all"}),
    ("a policy that is null", _FLOW, {"key_policy": None}),
    ("a policy in capitals", _FLOW, {"key_policy": "PLATFORM_ONLY"}),
    ("a flow's model of no provider", _FLOW, {"default_model": "nobody/gpt"}),
    ("a flow's model that is null", _FLOW, {"default_model": None}),
    ("a flow without a description", _FLOW, {"description": ""}),
    ("a description that is a list", _FLOW, {"description": ["x"]}),
    ("only reported: a text", _FLOW, {"report_only": "true"}),
    ("only reported: null", _FLOW, {"report_only": None}),
)

CASES: Final[tuple[Case, ...]] = tuple(case(name, call, body) for name, call, body in _BODIES)
