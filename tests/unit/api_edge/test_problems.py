"""Every code has its HTTP answer, in both shapes and languages."""

from pathlib import Path
from typing import Any

import orjson
import pytest

import services.api_edge.api
from services.api_edge.domain.errors import (
    BadInputError,
    EdgeClosingError,
    KeyRefusedError,
    NotHeardError,
    TooLargeError,
    WrongMethodError,
)
from services.api_edge.domain.language import LANGUAGES
from services.api_edge.domain.messages import Messages
from services.api_edge.problems import RULES, Occasion, Problems
from shared.kernel.errors import (
    BusUnavailableError,
    ConflictError,
    ConsentRequiredError,
    DatabaseUnavailableError,
    InternalError,
    InvalidRequestError,
    NotSentError,
    PlatformError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    Refused,
    ServiceUnavailableError,
    SystemKeyExhaustedError,
    UserApiKeyInvalidError,
    UserApiKeyRequiredError,
    WorkerLostError,
    error_class,
)
from shared.kernel.ids import new_id
from shared.kernel.names import KeyService, KeyVerdict

pytestmark = pytest.mark.unit

MESSAGES = Messages.read((Path(services.api_edge.api.__file__).parent / "data/messages.json").read_bytes())
PROBLEMS = Problems(MESSAGES, "https://app.example/settings")
API = Occasion(is_v1=False, language="en")
V1 = Occasion(is_v1=True, language="en")

DESIGN = {
    "user_api_key_required": 403,
    "user_api_key_invalid": 403,
    "user_api_key_exhausted": 402,
    "consent_required": 403,
    "system_key_exhausted": 503,
    "vault_unavailable": 503,
    "bus_unavailable": 503,
    "insufficient_credits": 402,
    "price_unknown": 422,
    "provider_rate_limited": 429,
    "provider_error": 502,
    "provider_timeout": 504,
    "worker_lost": 502,
    "invalid_request": 422,
    "database_unavailable": 503,
    "service_unavailable": 503,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "run_cancelled": 499,
    "rate_limited": 429,
    "internal_error": 500,
}


def _codes(root: type[PlatformError] = PlatformError) -> set[str]:
    return {root.code}.union(*(_codes(child) for child in root.__subclasses__()))


def test_every_code_has_a_rule_and_a_text() -> None:
    assert _codes() == set(RULES) == set(MESSAGES.codes) == set(DESIGN)


@pytest.mark.parametrize(
    "texts", [MESSAGES.codes, MESSAGES.reasons, MESSAGES.details], ids=["codes", "reasons", "details"]
)
def test_every_text_is_in_every_language(texts: dict[str, dict[str, str]]) -> None:
    for name, text in texts.items():
        assert set(text) == set(LANGUAGES), name
        assert len(set(text.values())) == len(LANGUAGES), f"{name} is not translated"


@pytest.mark.parametrize(("code", "status"), DESIGN.items())
def test_a_code_has_its_status(code: str, status: int) -> None:
    error = error_class(code)()
    assert PROBLEMS.response(error, API).status_code == status
    assert PROBLEMS.response(error, V1).status_code == (400 if code == "invalid_request" else status)


@pytest.mark.parametrize("code", DESIGN)
@pytest.mark.parametrize("occasion", [API, V1], ids=["api", "v1"])
def test_waiting_is_told_where_waiting_helps(code: str, occasion: Occasion) -> None:
    response = PROBLEMS.response(error_class(code)(), occasion)
    assert ("retry-after" in response.headers) == (response.status_code in {503, 429})


def test_the_errors_own_patience_wins_and_is_whole_seconds() -> None:
    assert PROBLEMS.response(BusUnavailableError(retry_after_s=7.2), API).headers["retry-after"] == "8"
    assert PROBLEMS.response(ProviderRateLimitedError(retry_after_s=0.01), V1).headers["retry-after"] == "1"


def test_openais_shape() -> None:
    run_id = new_id()
    error = UserApiKeyRequiredError(service="openai")
    body = PROBLEMS.openai(error, Occasion(is_v1=True, language="en", run_id=run_id))
    assert body == {
        "error": {
            "message": MESSAGES.codes["user_api_key_required"]["en"],
            "type": "permission_error",
            "code": "user_api_key_required",
            "param": None,
            "service": "openai",
            "run_id": str(run_id),
            "settings_url": "https://app.example/settings",
            "help_url": "https://platform.openai.com/api-keys",
        }
    }


def test_openais_clients_find_the_run_and_leave_alone_what_may_have_been_paid() -> None:
    there = Occasion(is_v1=True, language="en", run_id=new_id())
    answers = {
        error: PROBLEMS.response(error(), there).headers
        for error in (
            *(WorkerLostError, ProviderTimeoutError, BusUnavailableError, ConflictError),
            *(NotHeardError, EdgeClosingError),
            *(NotSentError, DatabaseUnavailableError, ProviderRateLimitedError, InternalError),
            ServiceUnavailableError,
        )
    }
    assert {headers["x-request-id"] for headers in answers.values()} == {str(there.run_id)}
    told = [headers.get("x-should-retry") for headers in answers.values()]
    assert told == ["false"] * 6 + [None] * 5
    assert "x-should-retry" not in PROBLEMS.response(WorkerLostError(), API).headers


def _refused(status: int) -> InvalidRequestError:
    refused = Refused(status, "context_length_exceeded", "messages")
    return InvalidRequestError("This model's maximum is 8 tokens.", service="openai", refused=refused)


def test_openais_clients_hear_what_the_provider_said_in_its_own_words() -> None:
    error = PROBLEMS.openai(_refused(400), Occasion(is_v1=True, language="it"))["error"]
    assert (error["message"], error["param"]) == ("This model's maximum is 8 tokens.", "messages")
    assert (error["code"], error["type"]) == ("context_length_exceeded", "invalid_request_error")
    assert (error["service"], "provider_code" in error) == ("openai", False)


@pytest.mark.parametrize(
    ("theirs", "ours"), [*((one, one) for one in (400, 403, 404, 413, 415, 422)), (405, 400), (501, 400)]
)
def test_under_v1_a_refused_request_has_the_provider_s_status(theirs: int, ours: int) -> None:
    assert PROBLEMS.response(_refused(theirs), V1).status_code == ours
    assert PROBLEMS.response(_refused(theirs), API).status_code == 422
    assert PROBLEMS.response(ProviderError(refused=Refused(theirs)), V1).status_code == 502


def test_elsewhere_the_code_is_ours_and_the_provider_s_is_beside_it() -> None:
    problem = PROBLEMS.problem(_refused(404), API)
    assert (problem["code"], problem["provider_code"]) == ("invalid_request", "context_length_exceeded")
    assert (problem["message"], problem["title"]) == (MESSAGES.codes["invalid_request"]["en"],) * 2
    assert (problem["detail"], problem["param"]) == ("This model's maximum is 8 tokens.", "messages")


def test_a_code_that_means_something_else_here_stays_the_provider_s() -> None:
    error = InvalidRequestError("no", refused=Refused(403, "insufficient_credits"))
    assert PROBLEMS.openai(error, V1)["error"]["code"] == "invalid_request"
    assert PROBLEMS.problem(error, API)["provider_code"] == "insufficient_credits"


def test_what_credits_do_not_pay_for_is_named_in_the_message() -> None:
    error = PROBLEMS.openai(InvalidRequestError("plugins needs a key of your own"), V1)["error"]
    assert (error["message"], error["code"]) == ("plugins needs a key of your own", "invalid_request")


def test_an_answer_that_is_too_long_would_be_so_again() -> None:
    error = ProviderError("the answer is too long", detail=ProviderError.TOO_LONG)
    assert PROBLEMS.response(error, V1).headers["x-should-retry"] == "false"
    assert PROBLEMS.openai(error, V1)["error"]["message"] == MESSAGES.details[ProviderError.TOO_LONG]["en"]


def test_rfc_9457s_shape() -> None:
    run_id = new_id()
    response = PROBLEMS.response(
        BadInputError("required", "service"), Occasion(is_v1=False, language="it", run_id=run_id)
    )
    assert response.media_type == "application/problem+json"
    assert response.headers["content-language"] == "it"
    assert response.headers["latchkey-run-id"] == str(run_id)
    assert _body(response.body) == {
        "type": "urn:latchkey:problem:invalid_request",
        "title": "La richiesta non è valida.",
        "status": 422,
        "message": "`service` è obbligatorio.",
        "code": "invalid_request",
        "param": "service",
        "service": None,
        "run_id": str(run_id),
    }


def test_a_detail_is_passed_on_beside_the_message() -> None:
    exhausted = SystemKeyExhaustedError("all keys are out", detail="OPENROUTER_SYSTEM_KEY_EXHAUSTED")
    assert PROBLEMS.problem(exhausted, API)["detail"] == "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
    said = PROBLEMS.problem(ProviderError("the provider answered 500"), API)
    assert said["detail"] == "the provider answered 500"
    assert said["message"] == MESSAGES.codes["provider_error"]["en"]


@pytest.mark.parametrize(
    "detail", ["session_key_expired", "session_key_of_another_user", "session_key_tampered", "revoked"]
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_wrong_with_a_key_is_said_in_words(detail: str, language: str) -> None:
    error = UserApiKeyInvalidError(detail=detail, service="openai")
    body = PROBLEMS.openai(error, Occasion(is_v1=True, language=language))["error"]
    assert (body["code"], body["detail"]) == ("user_api_key_invalid", detail)
    assert body["message"] == MESSAGES.details[detail][language]
    assert PROBLEMS.response(error, V1).status_code == PROBLEMS.response(error, API).status_code == 403


def test_a_detail_that_has_no_words_of_its_own_leaves_the_codes() -> None:
    said = PROBLEMS.problem(ConsentRequiredError(detail="unheard of"), API)
    assert (said["message"], said["detail"]) == (MESSAGES.codes["consent_required"]["en"], "unheard of")


@pytest.mark.parametrize("verdict", [KeyVerdict.INVALID, KeyVerdict.EXPIRED])
def test_a_key_refused_at_entry_is_unauthorized_and_has_its_own_status(verdict: KeyVerdict) -> None:
    response = PROBLEMS.response(KeyRefusedError(verdict, KeyService.GROQ), API)
    body = _body(response.body)
    assert (response.status_code, body["code"]) == (401, "user_api_key_invalid")
    assert (body["status"], body["key_status"], body["service"]) == (401, verdict, "groq")
    assert body["detail"] == f"key_{verdict}"


def test_a_defect_of_ours_tells_nothing() -> None:
    body = PROBLEMS.problem(InternalError("a stack of secrets"), API)
    assert "secrets" not in str(body)
    assert body["code"] == "internal_error"


def test_a_newer_peers_code_is_an_internal_error() -> None:
    class NewerError(PlatformError):
        code = "internal_error"

    NewerError.code = "from_the_future"
    try:
        body = PROBLEMS.problem(NewerError(), API)
    finally:
        NewerError.code = "internal_error"
    assert (body["code"], body["status"]) == ("internal_error", 500)


@pytest.mark.parametrize("occasion", [API, V1], ids=["api", "v1"])
def test_some_bad_input_has_a_status_of_its_own(occasion: Occasion) -> None:
    assert PROBLEMS.response(TooLargeError(), occasion).status_code == 413
    assert PROBLEMS.response(WrongMethodError(), occasion).status_code == 405


@pytest.mark.parametrize(
    ("code", "part"),
    [("vault_unavailable", "vault"), ("bus_unavailable", "rabbitmq"), ("database_unavailable", "postgres")],
)
def test_a_missing_part_is_named(code: str, part: str) -> None:
    assert PROBLEMS.problem(error_class(code)(), API)["service"] == part


def test_an_unauthenticated_caller_is_told_how() -> None:
    response = PROBLEMS.response(error_class("unauthenticated")(), V1)
    assert response.headers["www-authenticate"] == 'Bearer realm="latchkey"'


def _body(raw: bytes | memoryview) -> Any:
    return orjson.loads(raw)
