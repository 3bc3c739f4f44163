"""`/api/models`: what models there are, what they cost, and which of the caller's keys could serve them."""

from decimal import Decimal
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.model_list import ModelInfo
from services.api_edge.domain.usable_keys import usable_keys
from services.api_edge.ports import KeyVault, PreferenceStore
from services.api_edge.routes.docs import body_docs, query_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Input, Json, PageQuery, PlainInt, Shown, read_body, read_query
from services.api_edge.use_cases.model_list import ModelList, ModelListing
from services.api_edge.use_cases.price_overrides import PriceOverrides
from shared.contracts.keys import KeyStatus
from shared.contracts.prices import PriceSet
from shared.kernel.money import format_amount
from shared.kernel.names import KeyService

PINNED_MAX: Final = 100


class ModelsQuery(PageQuery):
    """`q`: what id or name holds; `feature`: what a model must be able to do, as far as that is known."""

    limit: PlainInt = Field(default=100, ge=1, le=1000)
    provider: KeyService | None = None
    q: Shown | None = Field(default=None, max_length=100)
    feature: Shown | None = Field(default=None, max_length=50)


class PinnedBody(Input):
    models: tuple[Shown, ...] = Field(max_length=PINNED_MAX)


def model_list_router(
    gate: Gate,
    *,
    models: ModelList,
    overrides: PriceOverrides,
    key_vault: KeyVault,
    preferences: PreferenceStore,
    catalogue: Catalogue,
) -> APIRouter:
    router = APIRouter(prefix="/api/models", tags=["models"], dependencies=[BEARER])
    own = [Depends(gate.signed_in)]

    @router.get("", response_class=Json, dependencies=own, openapi_extra=query_docs(ModelsQuery))
    async def list_all_models(request: Request) -> Json:
        """Prices in US$ per million tokens, null when unknown; those with a `price_version` are an
        administrator's. `usable_with`: keys in the order of trying.

        `zero_data_retention`: whether nothing is kept, by the provider's standard terms; of OpenRouter's
        models, whether one of their hosts keeps nothing. Null when that is not known.
        """
        query = read_query(request, ModelsQuery)
        listing, first = models(), _place(query.cursor)
        found = [model for model in listing.models if _is_asked(model, query)]
        status = await key_vault.status(caller_of(request).user_id)
        page, prices = found[first : first + query.limit], overrides()
        return Json(
            {
                "items": [_view(model, status, prices.get(model.id.lower())) for model in page],
                "next_cursor": str(first + query.limit) if first + query.limit < len(found) else None,
                "total": len(found),
                "cache": _cache(listing),
            }
        )

    @router.get("/pinned", response_class=Json, dependencies=own)
    async def read_pinned(request: Request) -> Json:
        return Json({"models": list((await preferences.find(caller_of(request).user_id)).pinned)})

    @router.put("/pinned", response_class=Json, dependencies=own, openapi_extra=body_docs(PinnedBody))
    async def pin_models(request: Request) -> Json:
        """Keep models at hand, in this order; each once."""
        body = await read_body(request, PinnedBody)
        asked = tuple(dict.fromkeys(catalogue.find(name, "models").id for name in body.models))
        kept = await preferences.pin(caller_of(request).user_id, asked)
        return Json({"models": list(kept.pinned)})

    return router


def _place(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 6:  # noqa: PLR2004
        raise BadInputError("wrong_value", "cursor")
    return int(cursor)


def _is_asked(model: ModelInfo, query: ModelsQuery) -> bool:
    wanted = (query.q or "").lower()
    return (
        query.provider in {None, model.provider}
        and (wanted in model.id.lower() or wanted in model.name.lower())
        and (query.feature is None or query.feature in model.features)
    )


def _view(model: ModelInfo, status: KeyStatus, override: PriceSet | None) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name,
        "provider": model.provider.value,
        "context_window": model.context_window,
        "features": list(model.features),
        "output_kinds": list(model.output_kinds),
        "zero_data_retention": model.zero_data_retention,
        **_price(model, override),
        "note": model.note,
        "usable_with": [
            {"key_source": key.source.value, "service": key.service.value}
            for key in usable_keys(model.provider, status)
        ],
    }


def _price(model: ModelInfo, override: PriceSet | None) -> dict[str, Any]:
    """Tell what the shortest prompts cost."""
    if override is None or override.price is None:
        return {
            "input_usd": _usd(model.input_usd),
            "output_usd": _usd(model.output_usd),
            "price_version": None,
        }
    return {
        "input_usd": _usd(override.price.input.usd),
        "output_usd": _usd(override.price.output.usd),
        "price_version": override.version,
    }


def _usd(amount: Decimal | None) -> str | None:
    """Write US$ per million tokens as a plain decimal."""
    return None if amount is None else format_amount(amount)


def _cache(listing: ModelListing) -> dict[str, Any]:
    sources = ["genai-prices", *(() if listing.told_age_s is None else ("openrouter",))]
    age_s = None if listing.told_age_s is None else round(listing.told_age_s, 1)
    return {"age_s": age_s, "size": len(listing.models), "sources": sources}
