"""Requests about prices: what a model costs, and administrators' overrides."""

from services.billing.handlers.parts import Parts
from services.billing.use_cases.set_price import set_price
from services.billing.use_cases.show_prices import find_price, list_prices
from shared.contracts.prices import FindPrice, ListPrices, PriceFound, PriceList, PriceSet, SetPrice
from shared.kernel.names import API_EDGE, INFERENCE
from shared.runtime.rpc import Route


class PriceHandlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        return [
            Route(FindPrice, self.on_find_price, (INFERENCE,)),
            Route(SetPrice, self.on_set_price, (API_EDGE,)),
            Route(ListPrices, self.on_list_prices, (API_EDGE,)),
        ]

    async def on_find_price(self, request: FindPrice) -> PriceFound:
        parts = self._parts
        return find_price(request, prices=parts.prices, tariff=parts.tariff, now=parts.now())

    async def on_set_price(self, request: SetPrice) -> PriceSet:
        return await set_price(request, price_store=self._parts.price_store, now=self._parts.now())

    async def on_list_prices(self, request: ListPrices) -> PriceList:
        parts = self._parts
        return await list_prices(
            request,
            price_store=parts.price_store,
            prices=parts.prices,
            tariff=parts.tariff,
            now=parts.now(),
        )
