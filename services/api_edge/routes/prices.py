"""`/api/admin/prices`: what models cost, in US$ per million tokens, and administrators' overrides."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import AfterValidator, ConfigDict

from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.ports import PriceAdministration
from services.api_edge.routes.docs import body_docs, query_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Input, Json, Moment, moment, read_body, read_query
from services.api_edge.use_cases.price_overrides import PriceOverrides
from shared.contracts.prices import PriceSet, PriceSpec, RateSpec, SetPrice
from shared.kernel.prices import Price, Quote, Rate

_YEAR_MAX: Final = 2999


def _is_near(at: datetime) -> datetime:
    if at.year > _YEAR_MAX:
        raise ValueError("too far away")
    return at


_NearMoment = Annotated[Moment, AfterValidator(_is_near)]


class ValidFrom(Input):
    """Without it: from now on."""

    valid_from: _NearMoment | None = None


class PriceBody(ValidFrom):
    """Each rate is an amount ("0.15"), or {"usd", "tiers": [{"above", "usd"}]} by the prompt's tokens.

    Tokens of a kind without a rate cost as the rest of the prompt or answer.
    """

    model_config = ConfigDict(extra="forbid")

    input_usd: RateSpec
    output_usd: RateSpec
    cached_usd: RateSpec | None = None
    cache_write_usd: RateSpec | None = None
    reasoning_usd: RateSpec | None = None

    @property
    def spec(self) -> PriceSpec:
        return PriceSpec(
            input=self.input_usd,
            output=self.output_usd,
            cached=self.cached_usd,
            cache_write=self.cache_write_usd,
            reasoning=self.reasoning_usd,
        )


def prices_router(
    gate: Gate, prices: PriceAdministration, overrides: PriceOverrides, catalogue: Catalogue
) -> APIRouter:
    router = APIRouter(prefix="/api/admin/prices", tags=["admin"], dependencies=[BEARER, Depends(gate.admin)])

    async def set_price(request: Request, model: str, price: PriceSpec | None, at: datetime | None) -> Json:
        name, by = catalogue.find(model).id, caller_of(request).user_id
        command = SetPrice(model=name, price=price, valid_from=at, set_by=by)
        version = await prices.set_price(command)
        overrides.note(version)
        return Json(_version_view(version))

    @router.get("", response_class=Json)
    async def list_prices() -> Json:
        """All overrides there ever were, newest first."""
        found = await prices.prices(None)
        return Json({"items": [_version_view(each) for each in found.overrides], "next_cursor": None})

    @router.get("/{model:path}", response_class=Json)
    async def read_price(model: str) -> Json:
        """What a model costs now, null when nobody knows, and all its overrides, newest first."""
        name = catalogue.find(model).id
        found = await prices.prices(name)
        history = [_version_view(each) for each in found.overrides]
        return Json({"model": name, "current": _quote_view(found.current), "overrides": history})

    @router.put("/{model:path}", response_class=Json, openapi_extra=body_docs(PriceBody))
    async def put_price(request: Request, model: str) -> Json:
        """Override a model's price. What ran before, or was authorized before, keeps its price."""
        body = await read_body(request, PriceBody)
        return await set_price(request, model, body.spec, body.valid_from)

    @router.delete("/{model:path}", response_class=Json, openapi_extra=query_docs(ValidFrom))
    async def withdraw_price(request: Request, model: str) -> Json:
        """Let the listed price hold again."""
        return await set_price(request, model, None, read_query(request, ValidFrom).valid_from)

    return router


def _version_view(version: PriceSet) -> dict[str, Any]:
    price = None if version.price is None else version.price.named(version.version)
    return {
        "version": version.version,
        "model": version.model,
        "price": None if price is None else _price_view(price),
        "valid_from": moment(version.valid_from),
        "set_by": version.set_by,
    }


def _quote_view(quote: Quote | None) -> dict[str, Any] | None:
    if quote is None:
        return None
    tariff = {"credit_usd": f"{quote.tariff.credit_usd:f}", "markup": f"{quote.tariff.markup:f}"}
    return {"version": quote.price.version, "price": _price_view(quote.price), **tariff}


def _price_view(price: Price) -> dict[str, Any]:
    """Write a price as PUT takes it."""
    rates = {
        "input_usd": price.prompt,
        "output_usd": price.completion,
        "cached_usd": price.cached,
        "cache_write_usd": price.cache_write,
        "reasoning_usd": price.reasoning,
    }
    return {name: None if rate is None else _rate_view(rate) for name, rate in rates.items()}


def _rate_view(rate: Rate) -> str | dict[str, Any]:
    if not rate.tiers:
        return f"{rate.usd:f}"
    tiers = [{"above": tier.above, "usd": f"{tier.usd:f}"} for tier in rate.tiers]
    return {"usd": f"{rate.usd:f}", "tiers": tiers}
