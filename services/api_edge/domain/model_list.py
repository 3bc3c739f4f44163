"""What models there are, out of several lists: the shipped one, the price list, and OpenRouter's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from services.api_edge.domain.catalogue import is_model_name
from services.api_edge.domain.retention import ZERO_DATA_RETENTION
from shared.contracts.models import ListedModel
from shared.kernel.names import KeyService

_OURS: Final[Mapping[str, KeyService]] = {
    "openai": KeyService.OPENAI,
    "anthropic": KeyService.ANTHROPIC,
    "google": KeyService.GEMINI,
    "x-ai": KeyService.XAI,
}
"""Providers as OpenRouter calls them, of whom we call some ourselves."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """`id` is `provider/model`. Prices in US$ per million tokens. None, or nothing, is not known."""

    id: str
    provider: KeyService
    name: str
    context_window: int | None = None
    features: tuple[str, ...] = ()
    output_kinds: tuple[str, ...] = ("text",)
    zero_data_retention: bool | None = None
    input_usd: Decimal | None = None
    output_usd: Decimal | None = None
    note: str | None = None


def merged(
    shipped: Iterable[str], priced: Iterable[ModelInfo], told: Iterable[ListedModel]
) -> tuple[ModelInfo, ...]:
    """Return all models by id, those shipped first. What OpenRouter tells of a provider's model holds for the
    provider's own, but for its price: that is the price list's.
    """
    models = {name: ModelInfo(name, KeyService(name.partition("/")[0]), _name(name)) for name in shipped}
    for model in priced:
        if is_model_name(_name(model.id)):
            models[model.id] = model
    spelled = {_spelling(name): name for name in models}
    for listed in told:
        _tell(models, spelled, listed)
    return tuple(
        replace(model, zero_data_retention=ZERO_DATA_RETENTION.get(model.provider, model.zero_data_retention))
        for model in models.values()
    )


def _tell(models: dict[str, ModelInfo], spelled: Mapping[str, str], listed: ListedModel) -> None:
    prefix, _, rest = listed.id.partition("/")
    if not is_model_name(listed.id):
        return
    own = spelled.get(_spelling(f"{_OURS[prefix]}/{rest}")) if prefix in _OURS else None
    routed = f"{KeyService.OPENROUTER}/{listed.id}"
    if own is not None:
        models[own] = _with(models[own], listed)
    known = models.get(routed) or ModelInfo(routed, KeyService.OPENROUTER, _name(routed))
    models[routed] = replace(
        _with(known, listed),
        zero_data_retention=listed.zero_data_retention,
        input_usd=known.input_usd if known.input_usd is not None else listed.input_usd,
        output_usd=known.output_usd if known.output_usd is not None else listed.output_usd,
    )


def _with(model: ModelInfo, listed: ListedModel) -> ModelInfo:
    return replace(
        model,
        name=listed.name or model.name,
        context_window=model.context_window or listed.context_window,
        features=listed.features or model.features,
        output_kinds=listed.output_kinds or model.output_kinds,
    )


def _spelling(name: str) -> str:
    """Some write `claude-haiku-4.5`, some `claude-haiku-4-5`."""
    return name.lower().replace(".", "-")


def _name(model_id: str) -> str:
    return model_id.partition("/")[2]
