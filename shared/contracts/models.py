"""Messages of inference about models: it alone may ask the internet what there is."""

from decimal import Decimal

from pydantic import Field

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request


class ListModels(Request):
    """Asks OpenRouter's public list of models. Raises `provider_error` when it cannot be read."""

    ROUTING_KEY = "inference.list_models.v1"


class ListedModel(Answer):
    """A model as OpenRouter lists it; `id` is its name there. Prices in US$ per million tokens.

    `zero_data_retention`: whether a host of it there keeps nothing; None when that is not known.
    """

    id: str
    name: str | None = None
    context_window: int | None = Field(default=None, ge=0)
    features: tuple[str, ...] = ()
    output_kinds: tuple[str, ...] = ()
    zero_data_retention: bool | None = None
    input_usd: Decimal | None = None
    output_usd: Decimal | None = None


class ModelsListed(Answer):
    models: tuple[ListedModel, ...]
