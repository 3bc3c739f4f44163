"""What every refusal of every provider means."""

import pytest

from services.inference.domain.failures import CURABLE, MESSAGE_CHARS_MAX, Refusal, error_of, refusal_words
from shared.kernel.names import KeyService, KeySource

pytestmark = pytest.mark.unit

OPENAI, USER, PLATFORM = KeyService.OPENAI, KeySource.USER, KeySource.PLATFORM


@pytest.mark.parametrize(
    ("status", "words", "user_code", "platform_code"),
    [
        (401, "invalid_api_key", "user_api_key_invalid", "system_key_exhausted"),
        (403, "", "user_api_key_invalid", "system_key_exhausted"),
        (402, "", "user_api_key_exhausted", "system_key_exhausted"),
        (429, "insufficient_quota", "user_api_key_exhausted", "system_key_exhausted"),
        (429, "rate_limit_exceeded", "provider_rate_limited", "provider_rate_limited"),
        (498, "capacity_exceeded", "provider_rate_limited", "provider_rate_limited"),
        (400, "bad temperature", "invalid_request", "invalid_request"),
        (404, "model_not_found", "invalid_request", "invalid_request"),
        (413, "", "invalid_request", "invalid_request"),
        (422, "", "invalid_request", "invalid_request"),
        (408, "", "provider_timeout", "provider_timeout"),
        (302, "", "provider_error", "provider_error"),
        (409, "", "provider_error", "provider_error"),
        (500, "", "provider_error", "provider_error"),
        (529, "overloaded_error", "provider_error", "provider_error"),
        # Gemini and xAI tell a wrong key with 400, Anthropic an empty account.
        (400, "invalid_argument api_key_invalid", "user_api_key_invalid", "system_key_exhausted"),
        (400, "incorrect api key provided: xa***yz", "user_api_key_invalid", "system_key_exhausted"),
        (400, "your credit balance is too low", "user_api_key_exhausted", "system_key_exhausted"),
        # OpenRouter's moderation: nothing is wrong with the key.
        (403, "403 flagged your input was flagged", "invalid_request", "invalid_request"),
    ],
)
def test_the_table(status: int, words: str, user_code: str, platform_code: str) -> None:
    refusal = Refusal(status, words)

    assert error_of(refusal, OPENAI, USER).code == user_code
    assert error_of(refusal, OPENAI, PLATFORM).code == platform_code


def test_every_source_of_the_users_own_gets_the_users_errors() -> None:
    own = [source for source in KeySource if source.is_byok]

    assert {error_of(Refusal(401), OPENAI, source).code for source in own} == {"user_api_key_invalid"}


@pytest.mark.parametrize(("asked", "told"), [(None, 5.0), (2.5, 2.5), (-3.0, 0.0), (1e9, 3600.0)])
def test_a_rate_limit_always_says_when_to_come_back(asked: float | None, told: float) -> None:
    assert error_of(Refusal(429, retry_after_s=asked), OPENAI, USER).retry_after_s == told


def test_only_an_invalid_request_quotes_the_provider() -> None:
    said = "sk-somebody's key " * 100

    errors = {
        status: error_of(Refusal(status, message=said), OPENAI, USER) for status in (400, 401, 429, 500)
    }

    assert errors[400].message == said[:MESSAGE_CHARS_MAX]
    assert all("sk-" not in errors[status].message for status in (401, 429, 500))


def test_openrouters_exhausted_platform_key_has_its_detail() -> None:
    assert error_of(Refusal(402), KeyService.OPENROUTER, PLATFORM).detail == "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
    assert error_of(Refusal(402), OPENAI, PLATFORM).detail is None


def test_what_another_credential_can_cure() -> None:
    cured = {
        status for status in range(300, 600) if isinstance(error_of(Refusal(status), OPENAI, USER), CURABLE)
    }

    assert cured == {401, 402, 403, 429, 498}


@pytest.mark.parametrize(
    ("body", "words", "message"),
    [
        (
            {"error": {"message": "No", "type": "T", "code": "insufficient_quota", "param": None}},
            "insufficient_quota t no",
            "No",
        ),
        ({"type": "error", "error": {"type": "not_found_error", "message": "m"}}, "not_found_error m", "m"),
        (
            [
                {
                    "error": {
                        "code": 400,
                        "message": "M",
                        "status": "INVALID",
                        "details": [{"reason": "API_KEY_INVALID"}],
                    }
                }
            ],
            "400 invalid api_key_invalid m",
            "M",
        ),
        (
            {"code": "Client error", "error": "Incorrect API key"},
            "client error incorrect api key",
            "Incorrect API key",
        ),
        ({"error": {"message": "m", "code": 403, "metadata": {"flagged_input": "x"}}}, "403 flagged m", "m"),
        ({"message": "plain"}, "plain", "plain"),
        (None, "", ""),
        ("text", "", ""),
        ([], "", ""),
        ({"error": {"message": None, "details": [3, None]}}, "", ""),
    ],
)
def test_the_shapes_of_error_bodies(body: object, words: str, message: str) -> None:
    assert refusal_words(body) == (words, message)
