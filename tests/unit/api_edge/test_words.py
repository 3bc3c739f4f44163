"""Flows, models, languages, keys in headers, callers: the edge's small rules."""

from pathlib import Path

import pytest

import services.api_edge.api
from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.flows import Flow, Flows
from services.api_edge.domain.identity import Caller, bearer_token, caller_from_claims
from services.api_edge.domain.language import preferred
from services.api_edge.domain.request_keys import KEY_HEADERS, request_key
from shared.kernel.errors import ForbiddenError, UnauthenticatedError
from shared.kernel.names import KeyPolicy, KeyService, Role
from shared.kernel.secret import SecretText

pytestmark = pytest.mark.unit

DATA = Path(services.api_edge.api.__file__).parent / "data"
FLOWS = Flows.read((DATA / "flows.json").read_bytes())
CATALOGUE = Catalogue.read((DATA / "catalogue.json").read_bytes())


@pytest.mark.parametrize(
    ("name", "flow", "policy"),
    [
        (None, "chat", KeyPolicy.USER_KEY_PREFERRED),
        ("chat", "chat", KeyPolicy.USER_KEY_PREFERRED),
        (" solver ", "solver", KeyPolicy.USER_KEY_REQUIRED),
        ("deep_analysis", "deep_analysis", KeyPolicy.PLATFORM_ONLY),
    ],
)
def test_a_flow_has_its_policy(name: str | None, flow: str, policy: KeyPolicy) -> None:
    found = FLOWS.named(name, Role.USER)
    assert (found.name, found.policy) == (flow, policy)


@pytest.mark.parametrize("name", ["", "Chat", "nope", "chat,solver"])
def test_an_unknown_flow_is_refused(name: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        FLOWS.named(name, Role.USER)
    assert (refusal.value.reason, refusal.value.param) == ("unknown_flow", "Latchkey-Flow")


def test_system_flows_are_for_services() -> None:
    flows = Flows((Flow("titles", KeyPolicy.SYSTEM, "openai/gpt-4o-mini"),), "titles")
    assert flows.named("titles", Role.SERVICE).policy is KeyPolicy.SYSTEM
    for role in (Role.USER, Role.ADMIN):
        with pytest.raises(ForbiddenError):
            flows.named("titles", role)


def test_flows_must_be_sound() -> None:
    flow = Flow("a", KeyPolicy.SYSTEM, "openai/gpt-4o-mini")
    with pytest.raises(ValueError, match="names of their own"):
        Flows((flow, flow), "a")
    with pytest.raises(ValueError, match="names of their own"):
        Flows((flow,), "b")


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("gpt-4o-mini", KeyService.OPENAI, "openai/gpt-4o-mini"),
        ("openai/gpt-4o-mini", KeyService.OPENAI, "openai/gpt-4o-mini"),
        ("openai/gpt-99-unheard", KeyService.OPENAI, "openai/gpt-99-unheard"),
        ("openai/gpt-oss-120b", KeyService.GROQ, "groq/openai/gpt-oss-120b"),
        ("openrouter/deepseek/deepseek-chat:free", KeyService.OPENROUTER, None),
        ("openai/ft:gpt-4o-mini:org::id", KeyService.OPENAI, None),
        ("gateway/anything", KeyService.GATEWAY, None),
    ],
)
def test_a_model_is_found(name: str, provider: KeyService, model: str | None) -> None:
    found = CATALOGUE.find(name)
    assert (found.provider, found.id) == (provider, model or name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "gpt-99",
        "nobody/gpt-4o",
        "openai/",
        "openai/a b",
        "openai/\x00",
        "OpenAI/gpt-4o",
        "openai/é",
        "openai/sk-canary-0123456789",
    ],
)
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        CATALOGUE.find(name)
    assert (refusal.value.reason, refusal.value.param) == ("unknown_model", "model")


def test_the_whole_catalogue_can_be_asked_for_by_its_ids() -> None:
    assert len(list(CATALOGUE)) > 20
    for model in CATALOGUE:
        assert CATALOGUE.find(model.id) == model


def test_a_bare_name_means_one_model() -> None:
    with pytest.raises(ValueError, match="share a bare name"):
        Catalogue.read(b'{"created": 1, "models": ["openai/a", "groq/a"]}')


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("it", "it"),
        ("it-CH,fr;q=0.9", "it"),
        ("de, fr;q=0.9", "en"),
        ("en;q=0.5, it;q=0.8", "it"),
        ("en, it", "en"),
        ("it;q=0, en;q=0.1", "en"),
        ("it;q=nonsense", "en"),
        ("IT", "it"),
        (";;;,,,=", "en"),
        ("it;q=nan", "en"),
    ],
)
def test_the_language_a_client_prefers(header: str | None, language: str) -> None:
    assert preferred(header) == language


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-openai-key": "sk-own"}, (KeyService.OPENAI, "sk-own")),
        ({"x-provider-key": " sk-any "}, (KeyService.OPENAI, "sk-any")),
        ({"x-openrouter-key": "sk-or-1"}, (KeyService.OPENROUTER, "sk-or-1")),
        ({"x-openai-key": "sk-own", "x-openrouter-key": "sk-or-1"}, (KeyService.OPENAI, "sk-own")),
        ({"x-provider-key": "sk-any", "x-openai-key": "sk-own"}, (KeyService.OPENAI, "sk-any")),
        ({"x-groq-key": "gsk_other"}, None),
    ],
)
def test_a_key_sent_with_the_request(
    headers: dict[str, str], expected: tuple[KeyService, str] | None
) -> None:
    found = request_key(headers, KeyService.OPENAI)
    assert found == (expected and (expected[0], SecretText(expected[1])))


@pytest.mark.parametrize("value", ["", "  ", "two words", "tab\tbed", "kéy", "a\x00b", "k" * 8193])
def test_what_can_be_no_key_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        request_key({"x-openai-key": value}, KeyService.OPENAI)
    assert refusal.value.param == "x-openai-key"
    assert not value.strip() or value not in refusal.value.message


def test_every_service_a_user_can_name_has_its_header() -> None:
    services = [service for service in KeyService if service is not KeyService.GATEWAY]
    assert {name.lower() for name in KEY_HEADERS} == {"x-provider-key", *(f"x-{s}-key" for s in services)}


def test_session_keys_are_not_offered_yet() -> None:
    with pytest.raises(BadInputError) as refusal:
        request_key({"x-provider-key": "lks_" + "a" * 40}, KeyService.OPENAI)
    assert refusal.value.reason == "no_sessions_yet"


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_a_bearer_token_is_read(header: str) -> None:
    assert bearer_token(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_anything_else_is_no_bearer_token(header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        bearer_token(header)


def test_claims_name_a_caller() -> None:
    assert caller_from_claims({"sub": "u"}) == Caller("u", Role.USER)
    assert caller_from_claims({"sub": "u", "role": "admin"}) == Caller("u", Role.ADMIN)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": ""},
        {"sub": 5},
        {"sub": "a\x00"},
        {"sub": "u" * 129},
        {"sub": "u", "role": "root"},
        {"sub": "u", "role": ["admin"]},
        {"sub": "u", "role": None},
    ],
)
def test_unfit_claims_are_refused(claims: dict[str, object]) -> None:
    with pytest.raises(UnauthenticatedError):
        caller_from_claims(claims)
