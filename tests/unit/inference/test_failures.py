"""What every refusal of every provider means. The bodies are the providers' own."""

import pytest

from services.inference.domain.failures import CURABLE, MESSAGE_CHARS_MAX, NotAllowedError, error_of
from services.inference.domain.refusals import Refusal, refusal_of
from shared.kernel.errors import InvalidRequestError, PlatformError, Refused
from shared.kernel.names import KeyService, KeySource
from tests.unit.inference.provider_bodies import RefusalCase, refusal_cases

pytestmark = pytest.mark.unit

OPENAI, USER, PLATFORM = KeyService.OPENAI, KeySource.USER, KeySource.PLATFORM
SYSTEM = {
    "user_api_key_invalid": "system_key_exhausted",
    "user_api_key_exhausted": "system_key_exhausted",
}
"""What the platform's key ends with where the user's ends otherwise."""


def error(status: int, body: object = None, source: KeySource = USER) -> PlatformError:
    return error_of(refusal_of(status, body), OPENAI, source)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "user_api_key_invalid"),
        (402, "user_api_key_exhausted"),
        (403, "invalid_request"),
        (429, "provider_rate_limited"),
        (498, "provider_rate_limited"),
        (400, "invalid_request"),
        (404, "invalid_request"),
        (413, "invalid_request"),
        (422, "invalid_request"),
        (408, "provider_timeout"),
        (302, "provider_error"),
        (409, "provider_error"),
        (500, "provider_error"),
        (529, "provider_error"),
    ],
)
def test_the_status_alone(status: int, code: str) -> None:
    assert error(status).code == code
    assert error(status, source=PLATFORM).code == SYSTEM.get(code, code)


@pytest.mark.parametrize("case", refusal_cases(), ids=lambda case: case.name)
def test_each_providers_own_refusals(case: RefusalCase) -> None:
    refusal = refusal_of(case.status, case.body)

    assert error_of(refusal, case.service, USER).code == case.code
    assert error_of(refusal, case.service, PLATFORM).code == SYSTEM.get(case.code, case.code)
    assert refusal.message == case.message


def test_one_large_request_does_not_take_a_platform_key_out() -> None:
    said = "This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens."
    body = {"error": {"message": said, "code": 402}}
    short = error(402, body, PLATFORM)
    assert (short.code, short.retry_after_s) == ("provider_rate_limited", 60.0)
    assert error(402, body).code == "user_api_key_exhausted"


def test_what_a_key_may_not_do_says_nothing_against_it() -> None:
    """What a key has no leave for is its caller's choice; a key that is wrong is nobody's."""
    kind = {"type": "permission_error", "message": "Your API key does not have permission to use this model."}
    for source, said in ((PLATFORM, "openai does not allow this with the key"), (USER, kind["message"])):
        refused = error(403, {"error": kind}, source)
        assert (type(refused), refused.code, refused.message) == (NotAllowedError, "invalid_request", said)
    assert isinstance(error(403, None, PLATFORM), CURABLE)


def test_a_platform_key_whose_account_is_no_more_rests_and_a_spent_or_wrong_one_is_out() -> None:
    disabled = {"error": {"message": "This organization has been disabled."}}
    spent = {"error": {"message": "Key limit exceeded (total limit)."}}
    for status, body, rest_s in ((403, disabled, 60.0), (403, spent, None), (401, None, None)):
        refused = error(status, body, PLATFORM)
        assert (refused.code, refused.retry_after_s) == ("system_key_exhausted", rest_s)


@pytest.mark.parametrize(
    "said",
    [
        "Your organization is not allowed to use the model 'suspended'",
        "Your API key does not have access to `https://x/blocked`",
        "The model 'this key was disabled' does not exist",
    ],
)
def test_what_is_quoted_suspends_no_key(said: str) -> None:
    assert error(403, {"error": {"message": said}}).code == "invalid_request"


@pytest.mark.parametrize("source", [USER, PLATFORM])
def test_what_no_other_key_could_do_is_asked_of_none(source: KeySource) -> None:
    for status, said in (
        (403, "You are not allowed to generate embeddings from this model"),
        (403, "Content violates usage guidelines. Model: grok-4"),
    ):
        refused = error(status, {"error": {"message": said}}, source)
        assert (type(refused), refused.message) == (InvalidRequestError, said)


@pytest.mark.parametrize("source", [USER, PLATFORM])
def test_what_is_too_large_for_one_account_another_may_take(source: KeySource) -> None:
    said = "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 50000."
    refused = error(429, {"error": {"message": said}}, source)
    assert (type(refused), refused.message) == (NotAllowedError, said)


def test_the_names_of_the_platforms_account_are_quoted_to_nobody_else() -> None:
    said = "Request too large for gpt-4o in organization {} on tokens per min (TPM): Limit 1, Requested 2."
    named = "Content violates usage guidelines. Team: {}, Model: grok-4"
    uuid = "16f2151a-40f4-4a80-8ad0-cae00c27e8dd"
    for status, words, name in ((429, said, "org-Ab1"), (429, said, "proj_x"), (403, named, uuid)):
        body = {"error": {"message": words.format(name)}}
        assert error(status, body, PLATFORM).message == words.format("…")
        assert error(status, body, USER).message == words.format(name)


@pytest.mark.parametrize(
    "quoted",
    [
        "insufficient_quota",
        "billing_error",
        "your credit balance is too low",
        "invalid_api_key",
        "incorrect api key provided",
        "api key expired",
        "api_key_invalid",
    ],
)
def test_what_a_caller_makes_a_provider_say_puts_no_key_out_of_use(quoted: str) -> None:
    said = f"Invalid value: '{quoted}'. Supported values are: 'system', 'assistant', and 'user'."
    body = {"error": {"message": said, "type": "invalid_request_error", "code": "invalid_value"}}

    assert error(400, body, PLATFORM).code == "invalid_request"


def test_every_source_of_the_users_own_gets_the_users_errors() -> None:
    own = [source for source in KeySource if source.is_byok]

    assert {error_of(Refusal(401), OPENAI, source).code for source in own} == {"user_api_key_invalid"}


def test_an_expired_key_is_said_to_be_expired() -> None:
    expired = error(401, {"error": {"message": "API key expired. Please renew the API key."}})

    assert (expired.code, expired.detail) == ("user_api_key_invalid", "key_expired")


def test_an_ambiguous_word_is_no_expiry() -> None:
    assert error(401, {"error": {"message": "Invalid or expired API key."}}).detail is None


@pytest.mark.parametrize(
    ("asked", "told"),
    [(None, 5.0), (2.5, 2.5), (-3.0, 0.0), (1e9, 3600.0), (float("nan"), 5.0), (float("inf"), 3600.0)],
)
def test_a_rate_limit_always_says_when_to_come_back(asked: float | None, told: float) -> None:
    assert error_of(Refusal(429, retry_after_s=asked), OPENAI, USER).retry_after_s == told


@pytest.mark.parametrize(
    ("delay", "told"), [("34.5s", 34.5), ("7s", 7.0), ("soon", 5.0), (7, 5.0), ("-1s", 5.0)]
)
def test_geminis_rate_limit_says_it_in_the_body(delay: object, told: float) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}

    assert error(429, [{"error": {"code": 429, "details": [info]}}]).retry_after_s == told


def test_only_an_invalid_request_quotes_the_provider() -> None:
    said = "sk-somebody's key " * 100

    errors = {
        status: error_of(Refusal(status, message=said), OPENAI, USER) for status in (400, 401, 429, 500)
    }

    assert errors[400].message == said[:MESSAGE_CHARS_MAX]
    assert all("sk-" not in errors[status].message for status in (401, 429, 500))


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (
            {"error": {"code": "no_such", "param": "tools[0].name"}},
            "no_such",
            "tools[0].name",
        ),
        ({"error": {"code": 400, "param": None}}, None, None),
        ({"code": "Client specified an invalid argument", "error": "x"}, None, None),  # xAI's sentence
        ([{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}], None, None),
        ({"error": {"code": "a" * 129, "param": "a b"}}, None, None),
        (None, None, None),
    ],
)
def test_what_the_provider_calls_it_is_passed_on(body: object, code: str | None, param: str | None) -> None:
    assert error(400, body).refused == Refused(400, code, param)
    assert error(404, body, PLATFORM).refused == Refused(404, code, param)
    assert error(500, body).refused is None


def test_the_platforms_account_is_named_by_no_code_and_no_parameter() -> None:
    body = {"error": {"code": "org-AbC123", "param": "proj_XYZ"}}
    assert error(400, body).refused == Refused(400, "org-AbC123", "proj_XYZ")
    assert error(400, body, PLATFORM).refused == Refused(400)


def test_what_the_platforms_key_may_not_do_is_not_told_of() -> None:
    body = {"error": {"message": "not for you", "code": "missing_scope"}}
    assert error(403, body).refused == Refused(403, "missing_scope")
    assert error(403, body, PLATFORM).refused is None


def test_openrouters_exhausted_platform_key_has_its_detail() -> None:
    assert error_of(Refusal(402), KeyService.OPENROUTER, PLATFORM).detail == "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
    assert error_of(Refusal(402), OPENAI, PLATFORM).detail is None


def test_what_another_credential_can_cure() -> None:
    cured = {
        status for status in range(300, 600) if isinstance(error_of(Refusal(status), OPENAI, USER), CURABLE)
    }

    assert cured == {401, 402, 403, 429, 498}


@pytest.mark.parametrize(
    "body",
    [
        None,
        "text",
        [],
        [[]],
        {},
        {"error": None},
        {"error": [1]},
        {"error": {"message": None, "details": [3, None], "metadata": 1}},
        {"error": {"message": {"a": 1}, "code": [1], "details": {"reason": "x"}}},
        {"detail": "Not Found"},
    ],
)
def test_what_is_no_error_body_says_nothing(body: object) -> None:
    refusal = refusal_of(401, body)

    assert (refusal.codes, refusal.said, refusal.message) == (frozenset(), "", "")
