"""The models of the `genai-prices` package: the data it carries, never the network."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo as Listed
from genai_prices.types import TieredPrices

from services.api_edge.domain.model_list import ModelInfo
from shared.kernel.names import KeyService

_SERVICES: Final = {
    "openai": KeyService.OPENAI,
    "anthropic": KeyService.ANTHROPIC,
    "groq": KeyService.GROQ,
    "google": KeyService.GEMINI,
    "x-ai": KeyService.XAI,
    "openrouter": KeyService.OPENROUTER,
}


def priced_models() -> tuple[ModelInfo, ...]:
    """Return those that can be asked for by their own names."""
    return tuple(
        _info(_SERVICES[provider.id], model)
        for provider in get_snapshot().providers
        if provider.id in _SERVICES
        for model in provider.models
        if model.is_match(model.id) and not model.deprecated
    )


def _info(service: KeyService, model: Listed) -> ModelInfo:
    price = model.get_prices(datetime.now(UTC))
    input_usd, output_usd = _usd(price.input_mtok), _usd(price.output_mtok)
    is_embedding = "embed" in model.id
    return ModelInfo(
        id=f"{service}/{model.id}",
        provider=service,
        name=model.name or model.id,
        context_window=model.context_window,
        output_kinds=("embeddings",) if is_embedding else ("text",),
        input_usd=input_usd,
        output_usd=Decimal(0) if is_embedding and output_usd is None else output_usd,
        note=model.price_comments or model.description,
    )


def _usd(listed: Decimal | TieredPrices | None) -> Decimal | None:
    """Return what the shortest prompts cost."""
    return listed.base if isinstance(listed, TieredPrices) else listed
