"""The provider's own name for a call, as each service's answers have it."""

import httpx2
import pytest

from services.inference.adapters.provider_catalogue import load_providers
from services.inference.adapters.request_ids import tell_request_id
from services.inference.ports import ProviderCall
from shared.kernel.names import KeyService
from tests.fakes.inference import CANARY, a_key

pytestmark = pytest.mark.unit


def told(headers: dict[str, str], service: KeyService = KeyService.OPENAI, secret: str = CANARY) -> list[str]:
    names: list[str] = []
    call = ProviderCall(a_key(secret=secret), "openai/gpt-4o", {}, on_request_id=names.append)
    tell_request_id(call, load_providers({})[service], httpx2.Headers(headers, encoding="utf-8"))
    return names


@pytest.mark.parametrize(
    ("service", "headers", "name"),
    [
        # https://platform.openai.com/docs/api-reference/debugging-requests
        ("openai", {"x-request-id": "req_1f2e", "cf-ray": "9a"}, "req_1f2e"),
        # https://docs.claude.com/en/api/errors#request-id
        ("anthropic", {"request-id": "req_018EeWyXxfu5pfWkrYcMdjWG"}, "req_018EeWyXxfu5pfWkrYcMdjWG"),
        ("groq", {"X-Request-Id": "req_01jd"}, "req_01jd"),
        (
            "xai",
            {"x-request-id": "5b0c1f2e-0000-4000-8000-000000000001"},
            "5b0c1f2e-0000-4000-8000-000000000001",
        ),
        ("openrouter", {"x-generation-id": "gen-1764000000-abc", "x-request-id": "r"}, "gen-1764000000-abc"),
        ("gateway", {"x-litellm-call-id": "b980db26", "x-request-id": "upstream"}, "b980db26"),
        ("gateway", {"x-vercel-id": "fra1::iad1::abc-123"}, "fra1::iad1::abc-123"),
    ],
)
def test_each_service_has_a_name_for_it(service: str, headers: dict[str, str], name: str) -> None:
    assert told(headers, KeyService(service)) == [name]


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "a b",
        "a\tb",
        "x" * 129,
        "r\u00e9q",
        CANARY,
        f"req-{CANARY}-1",
        "sk-proj-0123456789abcdefghij",
    ],
)
def test_nothing_long_unprintable_or_like_a_key_is_told(value: str) -> None:
    assert told({"x-request-id": value}) == []


def test_a_short_key_is_not_told_either() -> None:
    assert told({"x-request-id": "req_abc_1"}, secret="abc") == []


def test_a_name_that_is_none_leaves_it_to_the_next() -> None:
    assert told({"x-request-id": "x" * 500, "request-id": "req_2"}) == ["req_2"]


def test_without_a_name_nothing_is_told() -> None:
    assert told({}) == []
