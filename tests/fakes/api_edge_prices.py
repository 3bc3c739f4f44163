"""Billing's prices, as the edge meets them, in memory."""

from datetime import UTC, datetime
from decimal import Decimal

from shared.contracts.prices import PriceList, PriceSet, SetPrice
from shared.kernel.errors import InvalidRequestError, PlatformError
from shared.kernel.prices import Price, Quote, Rate, Tariff, Tier

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TARIFF = Tariff(Decimal("0.01"), Decimal("1.5"))
LISTED = Price(
    "genai-prices-1",
    Rate(Decimal("0.15"), (Tier(200_000, Decimal("0.30")),)),
    Rate(Decimal("0.000000001")),
    cached=Rate(Decimal(0)),
)


class InMemoryPriceAdministration:
    """`listed`: what models cost that nobody set a price for. It is always `NOON`."""

    def __init__(self) -> None:
        self.versions: list[PriceSet] = []
        self.listed = {"openai/gpt-4o-mini": LISTED}
        self.error: PlatformError | None = None

    async def set_price(self, command: SetPrice) -> PriceSet:
        if self.error:
            raise self.error
        SetPrice.model_validate_json(command.model_dump_json())  # what cannot travel fails here too
        if command.valid_from is not None and command.valid_from < NOON:
            raise InvalidRequestError("valid_from: has passed", service="billing")
        version = PriceSet(
            version=f"prices-{len(self.versions) + 1}",
            model=command.model,
            price=command.price,
            valid_from=command.valid_from or NOON,
            set_by=command.set_by,
        )
        self.versions.append(version)
        return version

    async def prices(self, model: str | None) -> PriceList:
        if self.error:
            raise self.error
        found = [each for each in reversed(self.versions) if model in {None, each.model}]
        listed = self.listed.get(model or "")
        current = None if listed is None else Quote(listed, TARIFF)
        return PriceList(overrides=tuple(found), current=current)
