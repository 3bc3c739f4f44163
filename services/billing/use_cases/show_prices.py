"""Show what models cost."""

from datetime import datetime

from services.billing.domain.price_versions import provider_of
from services.billing.ports import PriceBook, PriceStore
from shared.contracts.prices import FindPrice, ListPrices, PriceFound, PriceList
from shared.kernel.names import KeyService
from shared.kernel.prices import Quote, Tariff


def find_price(request: FindPrice, *, prices: PriceBook, tariff: Tariff, now: datetime) -> PriceFound:
    """Return what a model costs now."""
    return PriceFound(quote=_quote(request.provider, request.model, prices, tariff, now))


async def list_prices(
    request: ListPrices, *, price_store: PriceStore, prices: PriceBook, tariff: Tariff, now: datetime
) -> PriceList:
    """Return all overrides, or one model's and what it costs now.

    Raises InvalidRequestError for an unknown provider, DatabaseUnavailableError.
    """
    if request.model is None:
        return PriceList(overrides=tuple(await price_store.all(None)))
    current = _quote(provider_of(request.model), request.model, prices, tariff, now)
    return PriceList(overrides=tuple(await price_store.all(request.model)), current=current)


def _quote(
    provider: KeyService, model: str, prices: PriceBook, tariff: Tariff, now: datetime
) -> Quote | None:
    price = prices.find(provider, model, now)
    return None if price is None else Quote(price, tariff)
