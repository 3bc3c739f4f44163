"""Prices out of the package, and that what they come to is what the package itself says."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import cache

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

from services.billing.adapters import genai_prices_book
from services.billing.adapters.genai_prices_book import GenaiPriceBook
from shared.kernel.names import KeyService
from shared.kernel.prices import Price, Tokens

pytestmark = pytest.mark.unit

_NOW = datetime(2026, 6, 1, 3, tzinfo=UTC)
_LISTS = {
    "openai": KeyService.OPENAI,
    "anthropic": KeyService.ANTHROPIC,
    "groq": KeyService.GROQ,
    "google": KeyService.GEMINI,
    "x-ai": KeyService.XAI,
    "openrouter": KeyService.OPENROUTER,
}
_MIXES = (
    Tokens(1_000, 500, cached=100, cache_write=300, reasoning=50),
    Tokens(128_000, 1, cached=128_000),
    Tokens(128_001, 1, cache_write=128_001),
    Tokens(200_001, 9_000, cached=50_000, cache_write=70_000, reasoning=9_000),
    Tokens(1_500_000, 250_000, cached=1),
)
_BY_TEXT = {"input_mtok", "output_mtok"}
_SEARCHERS = ("-search-", "-search", "sonar", "deep-research", "-online")
_DEARER_ANSWERS = {"output_image_mtok", "output_audio_mtok", "output_video_mtok"}


@cache
def _listed() -> tuple[tuple[KeyService, ModelInfo], ...]:
    """Every model of our providers that is found by its own name."""
    models = [
        (_LISTS[provider.id], model)
        for provider in get_snapshot().providers
        if provider.id in _LISTS
        for model in provider.models
        if model.is_match(model.id)
    ]
    assert len(models) > 1_000
    return tuple(models)


def _dates(model: ModelInfo) -> Iterator[datetime]:
    """Now, or just before the model's price changes first, and when it has changed each time."""
    if isinstance(model.prices, ModelPrice):
        yield _NOW
        return
    for number, conditional in enumerate(model.prices):
        if isinstance(conditional.constraint, StartDateConstraint):
            day = datetime.combine(conditional.constraint.start_date, time(), UTC)
            yield from (day,) if number > 1 else (day - timedelta(seconds=1), day)


def _theirs(service: KeyService, model: str, tokens: Tokens, at: datetime) -> Decimal:
    usage = genai_prices.Usage(
        input_tokens=tokens.prompt,
        cache_read_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        output_tokens=tokens.completion,
        output_reasoning_tokens=tokens.reasoning,
    )
    return genai_prices.calc_price(
        usage, model, provider_id=service.value, genai_request_timestamp=at
    ).total_price


def _model_price(service: KeyService, model: str, at: datetime) -> ModelPrice:
    return genai_prices.calc_price(
        genai_prices.Usage(), model, provider_id=service.value, genai_request_timestamp=at
    ).model_price


def test_every_cost_at_every_date_is_the_packages_own() -> None:
    book, compared = GenaiPriceBook(), 0
    for service, model in _listed():
        for at in _dates(model):
            price = book.find(service, f"{service}/{model.id}", at)
            for tokens in _MIXES if price is not None else ():
                assert price is not None
                assert price.cost_usd(tokens) == _theirs(service, model.id, tokens, at), (model.id, at)
                compared += 1
    assert compared > len(_MIXES) * 1_000


def test_what_has_no_price_is_not_rated_by_tokens_of_text_alone() -> None:
    book = GenaiPriceBook()
    for service, model in _listed():
        listed = {
            name: value
            for name, value in vars(_model_price(service, model.id, _NOW)).items()
            if value is not None
        }
        dearer = {
            name
            for name in _DEARER_ANSWERS & listed.keys()
            if _usd(listed[name]) > _usd(listed["output_mtok"])
        }
        searches = any(word in model.id for word in _SEARCHERS)
        is_free = not listed and (service is not KeyService.OPENROUTER or model.id.endswith(":free"))
        embeds = re.search(r"\bembed", model.id, re.IGNORECASE) is not None and "output_mtok" not in listed
        is_rated = listed.keys() >= ({"input_mtok"} if embeds else _BY_TEXT) and not dearer
        is_by_text = not searches and (is_free or is_rated)
        assert (book.find(service, model.id, _NOW) is not None) == is_by_text, model.id


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-4o-mini-search-preview",
        "openai/gpt-5-search-api",
        "openai/o4-mini-deep-research-2025-06-26",
        "openrouter/openai/GPT-4o-Search-Preview",
        "openrouter/perplexity/sonar",
        "openrouter/perplexity/llama-3.1-sonar-large-128k-online",
    ],
)
def test_a_model_that_searches_by_itself_is_not_rated_by_its_tokens(model: str) -> None:
    assert GenaiPriceBook().find(KeyService(model.partition("/")[0]), model, _NOW) is None


def _usd(listed: Decimal | TieredPrices) -> Decimal:
    return listed.base if isinstance(listed, TieredPrices) else listed


def test_every_kind_of_rate_is_somewhere() -> None:
    prices = [price for service, model in _listed() if (price := _price(service, model.id)) is not None]
    kinds = {
        "cached": lambda price: price.cached is not None,
        "cache_write": lambda price: price.cache_write is not None,
        "tiers": lambda price: bool(price.prompt.tiers),
    }
    assert {name for name, has in kinds.items() if any(map(has, prices))} == set(kinds)


def _price(service: KeyService, model: str) -> Price | None:
    return GenaiPriceBook().find(service, model, _NOW)


def test_a_rate_of_reasoning_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only models that have one search by themselves, too."""
    monkeypatch.setattr(genai_prices_book, "_SEARCHES", re.compile("never"))
    price = _price(KeyService.OPENROUTER, "perplexity/sonar-deep-research")
    assert price is not None
    assert price.reasoning is not None
    assert (price.completion.usd, price.reasoning.usd) == (Decimal(8), Decimal(3))


@pytest.mark.parametrize("model", ["google/lyria-3-pro-preview", "google/gemini-flash-1.5-8b-exp"])
def test_what_openrouter_lists_without_a_price_is_not_free(model: str) -> None:
    assert _price(KeyService.OPENROUTER, model) is None


def test_what_is_free_costs_nothing() -> None:
    for provider, model in (
        (KeyService.OPENROUTER, "nousresearch/hermes-3-llama-3.1-405b:free"),
        (KeyService.GEMINI, "gemma-4-31b-it"),
    ):
        price = _price(provider, model)
        assert price is not None
        assert price.cost_usd(Tokens(1_000, 1_000)) == 0


def test_a_price_changes_on_its_day() -> None:
    book, old, new = (
        GenaiPriceBook(),
        datetime(2025, 6, 9, 23, 59, tzinfo=UTC),
        datetime(2025, 6, 10, tzinfo=UTC),
    )
    before, after = (book.find(KeyService.OPENAI, "o3", at) for at in (old, new))
    assert before is not None
    assert after is not None
    assert (before.prompt.usd, after.prompt.usd) == (Decimal(10), Decimal(2))


def test_a_price_is_never_older_than_its_minute() -> None:
    """Prices that hang on the time of day are told by the minute: the package lists none finer."""
    for provider in get_snapshot().providers:
        for model in provider.models:
            for conditional in model.prices if isinstance(model.prices, list) else ():
                for name in ("start_time", "end_time"):
                    at = getattr(conditional.constraint, name, None)
                    assert at is None or (at.second, at.microsecond) == (0, 0)


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
        (KeyService.GEMINI, "gemini/gemini-2.5-flash-image"),
        (KeyService.OPENROUTER, "openrouter/auto"),
    ],
)
def test_an_unknown_model_or_one_not_priced_by_tokens_has_no_price(provider: KeyService, model: str) -> None:
    assert GenaiPriceBook().find(provider, model, _NOW) is None


def test_an_embedding_costs_what_its_input_does() -> None:
    price = GenaiPriceBook().find(KeyService.OPENAI, "openai/text-embedding-3-small", _NOW)
    assert price is not None
    assert price.worst_usd(10**6, 0) == Decimal("0.02")
    assert price.completion.usd == 0


def test_a_free_model_has_a_price_of_nothing() -> None:
    price = GenaiPriceBook().find(KeyService.OPENROUTER, "openrouter/deepseek/deepseek-r1:free", _NOW)
    assert price is not None
    assert price.worst_usd(10**6, 10**6) == 0
