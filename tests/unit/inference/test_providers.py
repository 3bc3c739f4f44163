"""Providers as data."""

import pytest

from services.inference.adapters.addresses import Destination, destination
from services.inference.adapters.provider_catalogue import load_providers
from services.inference.domain.providers import request_body
from services.inference.settings import InferenceSettings
from shared.kernel.errors import InternalError
from shared.kernel.names import KeyService, KeySource

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("service", "model", "spelled"),
    [
        ("openai", "openai/gpt-4o-mini", "gpt-4o-mini"),
        ("anthropic", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("groq", "groq/meta-llama/llama-4-scout", "meta-llama/llama-4-scout"),
        ("gemini", "gemini/gemini-2.5-flash", "gemini-2.5-flash"),
        ("xai", "xai/grok-4", "grok-4"),
        ("openai", "gpt-4o-mini", "gpt-4o-mini"),
        ("openrouter", "openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("openrouter", "openrouter/meta-llama/llama-3", "meta-llama/llama-3"),
        ("openrouter", "openrouter/auto", "openrouter/auto"),
        ("openrouter", "gemini/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("openrouter", "xai/grok-4", "x-ai/grok-4"),
        ("gateway", "openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("gateway", "anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("gateway", "gemini/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("gateway", "xai/grok-4", "xai/grok-4"),
        ("gateway", "gateway/meta/llama-3.3-70b", "meta/llama-3.3-70b"),
        ("gateway", "gateway/our-own-model", "our-own-model"),
    ],
)
def test_each_service_gets_its_spelling(service: str, model: str, spelled: str) -> None:
    assert load_providers({})[KeyService(service)].model_name(model) == spelled


def test_all_services_are_there_and_https() -> None:
    specs = load_providers({})

    assert set(specs) == set(KeyService)
    assert all(spec.base_url.startswith("https://") for spec in specs.values())
    assert not any(spec.overridden for spec in specs.values())


def test_an_address_can_be_put_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LATCHKEY_AMQP_URL": "amqp://a",
        "LATCHKEY_POSTGRES_URL": "postgres://a",
        "LATCHKEY_PROVIDERS__OPENAI__BASE_URL": "http://127.0.0.1:9400/v1",
    }.items():
        monkeypatch.setenv(name, value)

    specs = load_providers(InferenceSettings.load().base_urls)

    assert specs[KeyService.OPENAI].base_url == "http://127.0.0.1:9400/v1"
    assert specs[KeyService.OPENAI].overridden
    assert specs[KeyService.GROQ].base_url == "https://api.groq.com/openai/v1"


@pytest.mark.parametrize(
    ("service", "host", "path"),
    [
        ("openai", "api.openai.com", "/models"),
        ("anthropic", "api.anthropic.com", "/models"),
        ("groq", "api.groq.com", "/models"),
        ("gemini", "generativelanguage.googleapis.com", "/models"),
        ("xai", "api.x.ai", "/api-key"),
        ("openrouter", "openrouter.ai", "/key"),
        ("gateway", "ai-gateway.vercel.sh", "/credits"),
        ("gateway", "openrouter.ai", "/key"),
        ("gateway", "llm.example.com", "/models"),
    ],
)
def test_what_tells_about_a_key(service: str, host: str, path: str) -> None:
    assert load_providers({})[KeyService(service)].check_at(host).path == path


def test_only_anthropics_models_list_wants_its_key_otherwise() -> None:
    checks = {service: spec.key_check for service, spec in load_providers({}).items()}

    anthropic = checks.pop(KeyService.ANTHROPIC)
    assert (anthropic.auth_header, anthropic.auth_prefix) == ("x-api-key", "")
    assert anthropic.headers == {"anthropic-version": "2023-06-01"}
    assert {(check.auth_header, check.auth_prefix) for check in checks.values()} == {
        ("Authorization", "Bearer ")
    }


# -- where a key goes ----------------------------------------------------------------------------------------

OVERRIDE = "http://127.0.0.1:9400/v1"
USERS_URL = "https://llm.example.com/v1"
OPERATORS_URL = "http://gateway:4000/v1/"


def test_a_callers_address_is_only_for_that_callers_key() -> None:
    for spec in load_providers({}).values():
        for source in KeySource:
            if source.is_byok:
                assert destination(spec, source, USERS_URL) == Destination(USERS_URL, guarded=True)
            elif (source, spec.service) != (KeySource.TEAM_GATEWAY, KeyService.GATEWAY):
                with pytest.raises(InternalError):
                    destination(spec, source, USERS_URL)


def test_without_an_address_a_key_goes_to_the_configured_one() -> None:
    for service, spec in load_providers({KeyService.GROQ: OVERRIDE}).items():
        expected = OVERRIDE if service is KeyService.GROQ else spec.base_url
        for source in KeySource:
            assert destination(spec, source, None) == Destination(expected, guarded=False)


def test_the_team_gateways_address_is_its_operators() -> None:
    team, service = KeySource.TEAM_GATEWAY, KeyService.GATEWAY
    plain, overridden = load_providers({})[service], load_providers({service: OVERRIDE})[service]

    assert destination(plain, team, OPERATORS_URL) == Destination("http://gateway:4000/v1", guarded=False)
    assert destination(plain, team, None).base_url == "https://ai-gateway.vercel.sh/v1"
    assert destination(overridden, team, OPERATORS_URL) == Destination(OVERRIDE, guarded=False)
    assert destination(overridden, KeySource.USER_GATEWAY, USERS_URL) == Destination(USERS_URL, guarded=True)


def test_a_body_passes_through_with_what_the_service_needs() -> None:
    spec = load_providers({})[KeyService.OPENROUTER]

    sent = request_body(spec, "openai/gpt-4o", {"messages": [], "odd": 1}, stream=True, ceiling=4096)

    assert sent == {
        "messages": [],
        "odd": 1,
        "usage": {"include": True},
        "model": "openai/gpt-4o",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 4096,
    }


def test_the_clients_own_limit_stands() -> None:
    spec = load_providers({})[KeyService.OPENAI]

    assert request_body(spec, "openai/o", {"max_tokens": 9999}, stream=False, ceiling=10) == {
        "max_tokens": 9999,
        "model": "o",
    }
    assert "max_completion_tokens" not in request_body(spec, "openai/o", {}, stream=False, ceiling=None)
    assert request_body(spec, "openai/o", {}, stream=False, ceiling=7)["max_completion_tokens"] == 7
