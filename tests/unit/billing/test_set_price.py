"""Overriding prices, and what then holds."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.billing.use_cases.set_price import set_price
from services.billing.use_cases.show_prices import find_price, list_prices
from shared.contracts.prices import (
    FindPrice,
    ListPrices,
    PriceList,
    PriceSet,
    PriceSpec,
    RateSpec,
    SetPrice,
    TierSpec,
)
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyService
from shared.kernel.prices import Price, Quote, Rate, Tariff, Tier
from tests.fakes.billing_prices import SPEC, InMemoryOverrides

pytestmark = pytest.mark.unit

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = "openai/gpt-4o-mini"
LISTED = Price("listed", Rate(Decimal(1)), Rate(Decimal(2)))
TARIFF = Tariff(Decimal("0.01"), Decimal(1))


class Listed:
    def find(self, provider: KeyService, model: str, _at: datetime) -> Price | None:
        return LISTED if f"{provider}/{model.removeprefix(f'{provider}/')}" == MODEL else None


@dataclass
class Desk:
    """Billing's prices, over a list of one model."""

    book: InMemoryOverrides = field(default_factory=lambda: InMemoryOverrides(Listed()))

    async def set(
        self,
        price: PriceSpec | None = SPEC,
        valid_from: datetime | None = None,
        *,
        model: str = MODEL,
        now: datetime = NOON,
    ) -> PriceSet:
        command = SetPrice(model=model, price=price, valid_from=valid_from, set_by="root")
        return await set_price(command, price_store=self.book, now=now)

    async def shown(self, model: str | None = MODEL, now: datetime = NOON) -> PriceList:
        return await list_prices(
            ListPrices(model=model), price_store=self.book, prices=self.book, tariff=TARIFF, now=now
        )

    def version(self, at: datetime, model: str = MODEL) -> str | None:
        provider = KeyService(model.partition("/")[0])
        request = FindPrice(provider=provider, model=model)
        found = find_price(request, prices=self.book, tariff=TARIFF, now=at).quote
        return None if found is None else found.price.version


async def test_a_price_holds_from_now_on() -> None:
    desk = Desk()
    kept = await desk.set()
    assert (kept.version, kept.valid_from, kept.set_by, kept.price) == ("prices-1", NOON, "root", SPEC)
    assert desk.version(NOON - timedelta(microseconds=1)) == "listed"
    assert desk.version(NOON) == "prices-1"


async def test_a_price_may_wait_for_its_time() -> None:
    desk = Desk()
    await desk.set(valid_from=NOON + HOUR)
    assert [desk.version(at) for at in (NOON, NOON + HOUR)] == ["listed", "prices-1"]


async def test_of_several_the_latest_that_holds_counts_whenever_it_was_set() -> None:
    desk = Desk()
    await desk.set(valid_from=NOON + 2 * HOUR)
    await desk.set(valid_from=NOON + HOUR)
    await desk.set(valid_from=NOON + 2 * HOUR)
    told = [desk.version(NOON + hours * HOUR) for hours in (0, 1, 2)]
    assert told == ["listed", "prices-2", "prices-3"]


async def test_after_a_withdrawal_the_listed_price_holds_again() -> None:
    desk = Desk()
    await desk.set()
    withdrawn = await desk.set(None, NOON + HOUR)
    assert withdrawn.price is None
    assert [desk.version(at) for at in (NOON, NOON + HOUR)] == ["prices-1", "listed"]


async def test_a_model_that_no_list_has_gets_a_price_and_loses_it() -> None:
    desk, model = Desk(), "gateway/house-model"
    assert desk.version(NOON, model) is None
    await desk.set(model=model)
    await desk.set(None, NOON + HOUR, model=model)
    assert [desk.version(at, model) for at in (NOON, NOON + HOUR)] == ["prices-1", None]


async def test_a_models_spelling_does_not_matter() -> None:
    desk = Desk()
    await desk.set(model="openai/GPT-4o-mini")
    assert desk.version(NOON) == "prices-1"
    assert len((await desk.shown()).overrides) == 1


async def test_nothing_is_set_for_a_time_that_has_passed() -> None:
    desk = Desk()
    with pytest.raises(InvalidRequestError):
        await desk.set(valid_from=NOON - timedelta(microseconds=1))
    assert desk.book.versions == []
    await desk.set(valid_from=NOON)


@pytest.mark.parametrize("model", ["nobody/gpt-4o", "openai/", "openai", "gpt-4o-mini"])
async def test_a_model_of_no_known_provider_has_no_price(model: str) -> None:
    desk = Desk()
    with pytest.raises(InvalidRequestError):
        await desk.set(model=model)
    with pytest.raises(InvalidRequestError):
        await desk.shown(model)


async def test_a_model_is_shown_with_all_its_versions_and_what_it_costs_now() -> None:
    desk = Desk()
    await desk.set(valid_from=NOON + HOUR)
    await desk.set(model="groq/other")
    await desk.set(None, NOON + 2 * HOUR)
    shown = await desk.shown()
    assert [each.version for each in shown.overrides] == ["prices-3", "prices-1"]
    assert shown.current == Quote(LISTED, TARIFF)
    assert (await desk.shown(now=NOON + HOUR)).current == Quote(SPEC.named("prices-1"), TARIFF)


async def test_all_models_are_shown_together() -> None:
    desk = Desk()
    await desk.set()
    await desk.set(model="groq/other")
    shown = await desk.shown(None)
    assert [each.model for each in shown.overrides] == ["groq/other", MODEL]
    assert shown.current is None


def test_a_spec_is_a_price_of_every_kind() -> None:
    tiered = RateSpec(
        usd=Decimal(1), tiers=(TierSpec(above=10, usd=Decimal(2)), TierSpec(above=20, usd=Decimal(3)))
    )
    spec = PriceSpec(
        input=tiered,
        output=RateSpec(usd=Decimal(4)),
        cached=RateSpec(usd=Decimal(5)),
        cache_write=RateSpec(usd=Decimal(6)),
        reasoning=RateSpec(usd=Decimal(7)),
    )
    assert spec.named("v") == Price(
        "v",
        Rate(Decimal(1), (Tier(10, Decimal(2)), Tier(20, Decimal(3)))),
        Rate(Decimal(4)),
        cached=Rate(Decimal(5)),
        cache_write=Rate(Decimal(6)),
        reasoning=Rate(Decimal(7)),
    )
    assert PriceSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("above", [(20, 10), (10, 10)])
def test_tiers_rise(above: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="rise"):
        RateSpec(usd=Decimal(1), tiers=tuple(TierSpec(above=each, usd=Decimal(1)) for each in above))
