"""Administrators' prices as the edge remembers them."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.api_edge.use_cases.price_overrides import PriceOverrides
from shared.contracts.prices import PriceSet, PriceSpec, RateSpec
from tests.fakes.api_edge_prices import InMemoryPriceAdministration

pytestmark = pytest.mark.unit

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_version(number: int, usd: int | None, *, hours: int = 0, model: str = "openai/m") -> PriceSet:
    rate = None if usd is None else RateSpec(usd=Decimal(usd))
    price = None if rate is None else PriceSpec(input=rate, output=rate)
    at = NOON + timedelta(hours=hours)
    return PriceSet(version=f"prices-{number}", model=model, price=price, valid_from=at, set_by="root")


async def test_the_latest_that_has_begun_holds_of_equal_ones_the_later() -> None:
    now = NOON
    prices = PriceOverrides(InMemoryPriceAdministration(), now=lambda: now)
    for version in (
        a_version(10, 3),
        a_version(9, 2),
        a_version(11, None, hours=1),
        a_version(2, 1, hours=-1),
    ):
        prices.note(version)
    assert prices()["openai/m"].version == "prices-10"
    now += timedelta(hours=1)
    assert prices()["openai/m"].price is None


async def test_billing_is_asked_again_after_ten_seconds_and_what_is_known_stays() -> None:
    now, billing = 0.0, InMemoryPriceAdministration()
    prices = PriceOverrides(billing, clock=lambda: now, now=lambda: NOON)
    prices.note(a_version(1, 1, model="groq/x"))
    assert set(prices()) == {"groq/x"}
    await asyncio.sleep(0)
    billing.versions.append(a_version(2, 2))
    now = 9.0
    prices()
    await asyncio.sleep(0)
    assert set(prices()) == {"groq/x"}
    now = 10.0
    prices()
    await asyncio.sleep(0)
    assert set(prices()) == {"groq/x", "openai/m"}
