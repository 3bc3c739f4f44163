"""Providers as data."""

import pytest

from services.inference.adapters.provider_catalogue import load_providers
from services.inference.domain.providers import request_body
from services.inference.settings import InferenceSettings
from shared.kernel.names import KeyService

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
    ],
)
def test_each_service_gets_its_spelling(service: str, model: str, spelled: str) -> None:
    assert load_providers({})[KeyService(service)].model_name(model) == spelled


def test_all_services_are_there_and_https() -> None:
    specs = load_providers({})

    assert set(specs) == set(KeyService)
    assert all(spec.base_url is None or spec.base_url.startswith("https://") for spec in specs.values())
    assert [service for service, spec in specs.items() if spec.base_url is None] == [KeyService.GATEWAY]


def test_an_address_can_be_put_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LATCHKEY_AMQP_URL": "amqp://a",
        "LATCHKEY_POSTGRES_URL": "postgres://a",
        "LATCHKEY_PROVIDERS__OPENAI__BASE_URL": "http://127.0.0.1:9400/v1",
    }.items():
        monkeypatch.setenv(name, value)

    specs = load_providers(InferenceSettings.load().base_urls)

    assert specs[KeyService.OPENAI].base_url == "http://127.0.0.1:9400/v1"
    assert specs[KeyService.GROQ].base_url == "https://api.groq.com/openai/v1"


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
