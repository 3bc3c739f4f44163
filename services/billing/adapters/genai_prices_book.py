"""Prices out of the `genai-prices` package: the data it carries, never the network."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

import genai_prices
from genai_prices.types import ModelPrice, TieredPrices

from shared.kernel.names import KeyService
from shared.kernel.prices import Price, Rate, Tier

_VERSION = f"genai-prices-{genai_prices.__version__}"
_FREE: Final = Price(_VERSION, Rate(Decimal(0)), Rate(Decimal(0)))
_SEARCHES: Final = re.compile(r"(?<![a-z])(?:search|sonar|deep-research|online)(?![a-z])", re.IGNORECASE)
"""Models that search by themselves: each search has a price of its own, many times that of the tokens."""
_EMBEDS: Final = re.compile(r"(?<![a-z])embed", re.IGNORECASE)
"""Models of embeddings generate nothing, and are listed without a price for that."""


class GenaiPriceBook:
    """See `PriceBook`. The version names the package's, whose data does not change."""

    def __init__(self) -> None:
        self._remembered = lru_cache(maxsize=4096)(_find)
        _find(KeyService.OPENAI, "gpt-4o", datetime.now(UTC))  # the first one reads the data, a moment's work

    def find(self, provider: KeyService, model: str, at: datetime) -> Price | None:
        # Prices may hang on the time of day, which is listed in minutes.
        return self._remembered(
            provider, model.removeprefix(f"{provider}/"), at.replace(second=0, microsecond=0)
        )


def _find(provider: KeyService, name: str, at: datetime) -> Price | None:
    if _SEARCHES.search(name):
        return None
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(), name, provider_id=provider.value, genai_request_timestamp=at
        )
    except LookupError:
        return None
    if any(value is not None for value in vars(found.model_price).values()):
        return _price(found.model_price, generates=not _EMBEDS.search(name))
    return _FREE if _is_free(provider, name) else None


def _is_free(provider: KeyService, name: str) -> bool:
    """Say what a list without any price means: OpenRouter names free models so; others have one a song."""
    return provider is not KeyService.OPENROUTER or name.endswith(":free")


def _price(listed: ModelPrice, *, generates: bool) -> Price | None:
    """Return a price by tokens of text.

    None for a model priced by something else (hours, characters), or whose answers may be of dearer tokens:
    usage does not tell images, audio or video from text, so that they would be rated too low.
    """
    prompt, completion = _rate(listed.input_mtok), _rate(listed.output_mtok)
    if completion is None and not generates:
        completion = Rate(Decimal(0))
    if prompt is None or completion is None or _answers_dearer(listed, completion):
        return None
    return Price(
        _VERSION,
        prompt,
        completion,
        cached=_rate(listed.cache_read_mtok),
        reasoning=_rate(listed.output_reasoning_mtok),
        cache_write=_rate(listed.cache_write_mtok),
    )


def _answers_dearer(listed: ModelPrice, text: Rate) -> bool:
    media = map(_rate, (listed.output_image_mtok, listed.output_audio_mtok, listed.output_video_mtok))
    return any(rate is not None and rate.usd > text.usd for rate in media)


def _rate(listed: Decimal | TieredPrices | None) -> Rate | None:
    if isinstance(listed, TieredPrices):
        return Rate(listed.base, tuple(Tier(tier.start, tier.price) for tier in listed.tiers))
    return None if listed is None else Rate(listed)
