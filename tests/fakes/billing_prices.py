"""Prices in memory."""

from datetime import datetime
from decimal import Decimal

from services.billing.domain.price_versions import PriceVersions
from services.billing.ports import PriceBook
from shared.contracts.prices import PriceSet, PriceSpec, RateSpec, SetPrice
from shared.kernel.names import KeyService
from shared.kernel.prices import Price
from tests.fakes.billing import InMemoryPriceBook

SPEC = PriceSpec(input=RateSpec(usd=Decimal(3)), output=RateSpec(usd=Decimal("4.5")))


class InMemoryOverrides:
    """`PriceStore` and `PriceBook` in one, over another book."""

    def __init__(self, under: PriceBook | None = None) -> None:
        self.versions: list[PriceSet] = []
        self._under: PriceBook = under or InMemoryPriceBook({})

    async def set(self, command: SetPrice, valid_from: datetime) -> PriceSet:
        version = PriceSet(
            version=f"prices-{len(self.versions) + 1}",
            model=command.model,
            price=command.price,
            valid_from=valid_from,
            set_by=command.set_by,
        )
        self.versions.append(version)
        return version

    async def all(self, model: str | None) -> list[PriceSet]:
        wanted = None if model is None else model.lower()
        return [each for each in reversed(self.versions) if wanted in {None, each.model.lower()}]

    def find(self, provider: KeyService, model: str, at: datetime) -> Price | None:
        version = PriceVersions(self.versions).find(provider, model, at)
        if version is None or version.price is None:
            return self._under.find(provider, model, at)
        return version.price.named(version.version)
