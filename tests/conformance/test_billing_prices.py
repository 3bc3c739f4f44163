"""One behaviour of overridden prices, in memory and in Postgres."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol

import asyncpg
import pytest
import pytest_asyncio

from services.billing.adapters.postgres_prices import PostgresPriceBook
from services.billing.ports import PriceBook, PriceStore
from shared.contracts.prices import PriceSet, PriceSpec, RateSpec, SetPrice, TierSpec
from shared.kernel.errors import InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, KeyService
from tests.fakes.billing import InMemoryPriceBook
from tests.fakes.billing_prices import SPEC, InMemoryOverrides
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FULL = PriceSpec(
    input=RateSpec(usd=Decimal("0.000000001"), tiers=(TierSpec(above=200_000, usd=Decimal("999999.5")),)),
    output=RateSpec(usd=Decimal(1_000_000)),
    cached=RateSpec(usd=Decimal(0)),
    cache_write=RateSpec(usd=Decimal("3.75")),
    reasoning=RateSpec(usd=Decimal(4)),
)


class Prices(PriceStore, PriceBook, Protocol):
    """What one implementation is."""


@dataclass
class Desk:
    """One implementation, and a model of the test's own."""

    prices: Prices
    model: str

    async def set(self, price: PriceSpec | None = SPEC, valid_from: datetime = NOON) -> PriceSet:
        command = SetPrice(model=self.model, price=price, valid_from=valid_from, set_by="root")
        return await self.prices.set(command, valid_from)

    def version(self, at: datetime) -> str | None:
        price = self.prices.find(KeyService.OPENAI, self.model, at)
        return None if price is None else price.version


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def desk(request: pytest.FixtureRequest, pool_for: PoolFor) -> AsyncIterator[Desk]:
    model = f"openai/m-{new_id()}"
    if request.param == "memory":
        yield Desk(InMemoryOverrides(), model)
    else:
        yield Desk(PostgresPriceBook(await pool_for(BILLING), under=InMemoryPriceBook({})), model)


async def test_what_is_set_holds_at_once_where_it_was_set(desk: Desk) -> None:
    first = await desk.set()
    later = await desk.set(FULL, NOON + HOUR)
    assert desk.version(NOON - timedelta(microseconds=1)) is None
    assert [desk.version(NOON), desk.version(NOON + HOUR)] == [first.version, later.version]


async def test_a_price_is_kept_to_its_last_digit(desk: Desk) -> None:
    kept = await desk.set(FULL)
    assert kept.price == FULL
    assert await desk.prices.all(desk.model) == [kept]
    assert desk.prices.find(KeyService.OPENAI, desk.model, NOON) == FULL.named(kept.version)


async def test_a_withdrawal_is_a_version_too(desk: Desk) -> None:
    await desk.set()
    withdrawn = await desk.set(None, NOON + HOUR)
    assert (withdrawn.price, withdrawn.set_by) == (None, "root")
    assert desk.version(NOON + HOUR) is None


async def test_of_equal_times_the_later_version_holds(desk: Desk) -> None:
    versions = [await desk.set() for _ in range(3)]
    assert desk.version(NOON) == versions[-1].version
    assert len({version.version for version in versions}) == 3


async def test_all_versions_stay_newest_first_in_the_order_of_setting(desk: Desk) -> None:
    versions = [await desk.set(valid_from=NOON + hours * HOUR) for hours in (2, 0, 1)]
    assert await desk.prices.all(desk.model.upper()) == versions[::-1]
    assert [one for one in await desk.prices.all(None) if one.model == desk.model] == versions[::-1]
    assert await desk.prices.all("openai/nobody-set-this") == []


@pytest.fixture
async def pool(pool_for: PoolFor) -> "asyncpg.Pool[asyncpg.Record]":
    return await pool_for(BILLING)


async def test_another_replica_sees_it_when_it_looks_again(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    here, there = (PostgresPriceBook(pool, under=InMemoryPriceBook({})) for _ in range(2))
    desk, other = (Desk(book, f"openai/m-{new_id()}") for book in (here, there))
    kept = await desk.set()
    assert there.find(KeyService.OPENAI, desk.model, NOON) is None
    await there.refresh()
    assert there.find(KeyService.OPENAI, desk.model, NOON) == SPEC.named(kept.version)
    await other.set()


async def test_a_version_that_is_committed_after_a_later_one_is_seen(
    pool: "asyncpg.Pool[asyncpg.Record]",
) -> None:
    book, slow = PostgresPriceBook(pool, under=InMemoryPriceBook({})), f"openai/m-{new_id()}"
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await PostgresPriceBook(connection, under=InMemoryPriceBook({})).set(
            SetPrice(model=slow, price=SPEC, set_by="root"), NOON
        )
        await Desk(book, f"openai/m-{new_id()}").set()
        await book.refresh()
        assert book.find(KeyService.OPENAI, slow, NOON) is None
        await transaction.commit()
    await book.refresh()
    assert book.find(KeyService.OPENAI, slow, NOON) is not None


async def test_many_at_once_are_all_seen(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    book = PostgresPriceBook(pool, under=InMemoryPriceBook({}))
    desks = [Desk(book, f"openai/m-{new_id()}") for _ in range(30)]
    versions = await asyncio.gather(*(desk.set() for desk in desks))
    assert [desk.version(NOON) for desk in desks] == [version.version for version in versions]


@pytest.mark.parametrize(
    "statement", ["UPDATE prices SET valid_from = now()", "DELETE FROM prices", "TRUNCATE prices"]
)
async def test_nobody_changes_a_version(pool: "asyncpg.Pool[asyncpg.Record]", statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)


async def test_what_cannot_be_kept_is_refused(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    with pytest.raises(InvalidRequestError):
        await Desk(PostgresPriceBook(pool, under=InMemoryPriceBook({})), "openai/\x00").set()
