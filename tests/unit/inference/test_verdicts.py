"""What a provider's answer says of a key."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.inference.adapters.provider_catalogue import load_providers
from services.inference.domain.providers import KeyCheck
from services.inference.domain.verdicts import verdict_of
from shared.kernel.names import KeyService
from tests.unit.inference.provider_bodies import RefusalCase, refusal_cases

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODELS = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}
OPENROUTER_KEY = {
    "label": "sk-or-v1-au7...890",
    "limit": 100,
    "limit_remaining": 74.5,
    "usage": 25.5,
    "is_free_tier": False,
    "is_management_key": False,
    "is_provisioning_key": False,
    "expires_at": "2027-12-31T23:59:59Z",
}
XAI_KEY = {
    "redacted_api_key": "xai-...YWxl",
    "api_key_id": "ae1e1841",
    "api_key_blocked": False,
    "api_key_disabled": False,
    "team_blocked": False,
}


def check_of(service: str, host: str = "") -> KeyCheck:
    return load_providers({})[KeyService(service)].check_at(host)


def verdict(service: str, status: int, body: object, host: str = "") -> str:
    return verdict_of(check_of(service, host), status, body, NOW).value


@pytest.mark.parametrize("case", refusal_cases(), ids=lambda case: case.name)
def test_each_providers_own_refusals(case: RefusalCase) -> None:
    assert verdict_of(check_of(case.service), case.status, case.body, NOW) is case.verdict


@pytest.mark.parametrize("service", [service.value for service in KeyService])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "invalid"),
        (403, "invalid"),
        (402, "no_quota"),
        *((status, "unreachable") for status in (301, 302, 307, 308, 400, 404, 405, 408, 409, 422, 429)),
        *((status, "unreachable") for status in (500, 502, 503, 504, 529, 599)),
    ],
)
def test_the_status_alone(service: str, status: int, expected: str) -> None:
    assert verdict(service, status, None) == expected


@pytest.mark.parametrize("service", ["openai", "anthropic", "groq", "gemini", "gateway"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (MODELS, "valid"),
        ({"data": [], "has_more": False}, "valid"),
        ([{"id": "m"}], "valid"),
        ({"data": {}}, "unreachable"),
        ({}, "unreachable"),
        (None, "unreachable"),
        ("models", "unreachable"),
        ({"error": {"code": 401, "message": "no"}}, "invalid"),
        ({"error": "broken"}, "unreachable"),
    ],
)
def test_a_models_list(service: str, body: object, expected: str) -> None:
    assert verdict(service, 200, body) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "valid"),
        ({"limit": None, "limit_remaining": None, "expires_at": None}, "valid"),
        ({"limit_remaining": 0}, "no_quota"),
        ({"limit_remaining": -0.01}, "no_quota"),
        ({"limit_remaining": 1e-9}, "valid"),
        ({"limit_remaining": True}, "valid"),
        ({"limit_remaining": "much"}, "valid"),
        ({"expires_at": "2026-11-20T11:59:59Z"}, "expired"),
        ({"expires_at": "2026-11-20T11:59:59"}, "expired"),
        ({"expires_at": "2026-11-20T12:00:01+00:00"}, "valid"),
        ({"expires_at": "soon"}, "valid"),
        ({"is_management_key": True}, "invalid"),
        ({"is_provisioning_key": True}, "invalid"),
        ({"is_management_key": "yes"}, "valid"),
    ],
)
@pytest.mark.parametrize(("service", "host"), [("openrouter", ""), ("gateway", "openrouter.ai")])
def test_openrouters_key(service: str, host: str, changes: dict[str, Any], expected: str) -> None:
    assert verdict(service, 200, {"data": OPENROUTER_KEY | changes}, host) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "valid"),
        ({"api_key_disabled": True}, "invalid"),
        ({"api_key_blocked": True}, "invalid"),
        ({"team_blocked": True}, "no_quota"),
        ({"team_blocked": True, "api_key_disabled": True}, "invalid"),
    ],
)
def test_xais_key(changes: dict[str, Any], expected: str) -> None:
    assert verdict("xai", 200, XAI_KEY | changes) == expected


@pytest.mark.parametrize(
    ("balance", "expected"),
    [("95.50", "valid"), ("0", "no_quota"), ("-0.10", "no_quota"), ("0.00", "no_quota"), ("", "valid")],
)
def test_vercels_credits(balance: str, expected: str) -> None:
    body = {"balance": balance, "total_used": "4.50"}

    assert verdict("gateway", 200, body, "ai-gateway.vercel.sh") == expected


@pytest.mark.parametrize("service", ["openrouter", "xai"])
@pytest.mark.parametrize("body", [None, [], {}, MODELS, {"data": {}}, {"status": "ok"}])
def test_what_is_no_answer_about_a_key_says_nothing(service: str, body: object) -> None:
    assert verdict(service, 200, body) == "unreachable"
