"""Prices out of the package, and that ours are computed as its own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot

from services.billing.adapters.genai_prices_book import GenaiPriceBook
from shared.kernel.names import KeyService
from shared.kernel.prices import Price, Tokens

pytestmark = pytest.mark.unit

_NOW = datetime(2026, 6, 1, 3, tzinfo=UTC)
_LISTS = {
    KeyService.OPENAI: "openai",
    KeyService.ANTHROPIC: "anthropic",
    KeyService.GROQ: "groq",
    KeyService.GEMINI: "google",
    KeyService.XAI: "x-ai",
    KeyService.OPENROUTER: "openrouter",
}


def _listed() -> Iterator[tuple[KeyService, str, Price]]:
    book = GenaiPriceBook()
    for provider in get_snapshot().providers:
        for service, name in _LISTS.items():
            if provider.id == name:
                for model in provider.models:
                    price = book.find(service, f"{service}/{model.id}", _NOW)
                    if price is not None:
                        yield service, model.id, price


def test_every_providers_models_are_priced() -> None:
    priced = {service for service, _, _ in _listed()}
    assert priced == set(_LISTS)


@pytest.mark.parametrize("tokens", [Tokens(1_000, 500, cached=100), Tokens(450_000, 9_000, cached=50_000)])
def test_a_cost_is_the_packages_own(tokens: Tokens) -> None:
    for service, model, price in _listed():
        usage = genai_prices.Usage(
            input_tokens=tokens.prompt, cache_read_tokens=tokens.cached, output_tokens=tokens.completion
        )
        theirs = genai_prices.calc_price(
            usage, model, provider_id=service.value, genai_request_timestamp=_NOW
        )
        assert price.cost_usd(tokens) == theirs.total_price, (service, model)


def test_a_model_is_found_with_and_without_its_provider() -> None:
    book = GenaiPriceBook()
    price = book.find(KeyService.OPENAI, "gpt-4o-mini", _NOW)
    assert price == book.find(KeyService.OPENAI, "openai/gpt-4o-mini", _NOW)
    assert price is not None
    assert price.prompt.usd == Decimal("0.15")
    assert price.version == f"genai-prices-{genai_prices.__version__}"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        (KeyService.OPENAI, "openai/no-such-model"),
        (KeyService.GATEWAY, "gateway/gpt-4o-mini"),
        (KeyService.OPENAI, "openai/whisper-1"),
    ],
)
def test_an_unknown_model_or_one_not_priced_by_tokens_has_no_price(provider: KeyService, model: str) -> None:
    assert GenaiPriceBook().find(provider, model, _NOW) is None


def test_a_free_model_has_a_price_of_nothing() -> None:
    price = GenaiPriceBook().find(KeyService.OPENROUTER, "openrouter/deepseek/deepseek-r1:free", _NOW)
    assert price is not None
    assert price.worst_usd(10**6, 10**6) == 0
