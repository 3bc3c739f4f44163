"""What a period was charged and what other prices come to, read from the ledger's tables."""

import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from infra.rating.corrections import check_first, corrections
from infra.rating.prices import PriceFile, rates
from infra.rating.rerate import Period, Rerated, rerate
from infra.stack_settings import UsageError
from shared.contracts.prices import PriceSpec, RateSpec
from shared.contracts.usage import TokenCounts
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeySource, Outcome, TokensSource
from shared.kernel.prices import Tariff
from tests.fakes.billing import MODEL, usage_event
from tests.realm import TestRealm, temporary_realm

pytestmark = pytest.mark.integration

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATER = datetime(2026, 6, 1, tzinfo=UTC)
COST = 450
"""Of 10 and 5 tokens of gpt-4o-mini, as listed."""
DOUBLE = PriceSpec(input=RateSpec(usd=Decimal("0.30")), output=RateSpec(usd=Decimal("1.20")))
_INSERT = """
INSERT INTO billing.usage (
    usage_id, run_id, attempt, user_id, event, cost_micros, charged_micros, receivable_micros, recorded_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)
"""
_MANY = """
INSERT INTO billing.usage (
    usage_id, run_id, attempt, user_id, event, cost_micros, charged_micros, receivable_micros, recorded_at
)
SELECT gen_random_uuid(), gen_random_uuid(), 1, $1, $2, 450, 450, 0, $3 FROM generate_series(1, $4)
"""


@pytest_asyncio.fixture(scope="module")
async def realm(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    """One of this module's own: its usage has no transfers, which an auditor would tell of."""
    async with temporary_realm(servers, tmp_path_factory.mktemp("rerate")) as made:
        yield made


@dataclass
class Books:
    """The ledger's tables; a user and hours of the test's own."""

    database: "asyncpg.Connection[Any]"
    user_id: str = field(default_factory=lambda: f"u-{new_id()}")

    async def record(self, charged: int = COST, at: datetime = NOON, **changes: Any) -> None:
        event = usage_event(**({"user_id": self.user_id} | changes))
        await self.database.execute(
            _INSERT,
            *(event.usage_id, event.run_id, event.attempt, event.user_id, event.model_dump_json()),
            *(charged, charged, at),
        )

    async def rerate(
        self,
        since: datetime = NOON,
        until: datetime = NOON + HOUR,
        *,
        at: datetime | None = LATER,
        file: PriceFile = PriceFile(),  # noqa: B008 - frozen
        model: str | None = None,
    ) -> Rerated:
        used = await rates(self.database, file, at)
        return await rerate(self.database, Period(since, until, self.user_id, model), used)


@pytest.fixture
async def books(realm: TestRealm) -> AsyncIterator[Books]:
    database = await asyncpg.connect(realm.admin["LATCHKEY_POSTGRES_URL"])
    yield Books(database)
    await database.close()


def _told(found: Rerated) -> tuple[int, int, int]:
    return found.total.attempts, found.total.charged_micros, found.total.rated_micros


async def test_the_same_prices_come_to_the_same(books: Books) -> None:
    await books.record()
    assert _told(await books.rerate()) == (1, COST, COST)


async def test_a_files_price_markup_and_credit_come_to_something_else(books: Books) -> None:
    await books.record()
    await books.record(model="openai/gpt-4o")
    doubled = await books.rerate(file=PriceFile(prices={MODEL: DOUBLE}))
    assert doubled.models[MODEL].difference_micros == COST
    assert doubled.models["openai/gpt-4o"].rated_micros == 7_500
    assert (await books.rerate(file=PriceFile(markup=Decimal(3)), model=MODEL)).total.rated_micros == 3 * COST
    cheap = await books.rerate(file=PriceFile(credit_usd=Decimal("0.02")), model=MODEL)
    assert cheap.total.rated_micros == COST // 2


async def test_an_override_holds_for_its_time(books: Books) -> None:
    model = f"openai/m-{new_id()}"
    await books.database.execute(
        "INSERT INTO billing.prices (model, price, valid_from, set_by) VALUES ($1, $2, $3, 'root')",
        *(model, DOUBLE.model_dump_json(), LATER),
    )
    await books.record(model=model, started_at=NOON)
    await books.record(model=model, started_at=LATER)
    now = (await books.rerate(at=LATER)).total
    assert (now.rated_micros, now.unrated) == (4 * COST, 0)
    own = (await books.rerate(at=None)).total
    assert (own.rated_micros, own.unrated) == (COST + 2 * COST, 1)


async def test_the_period_begins_with_its_first_moment_and_ends_before_its_last(books: Books) -> None:
    for at in (NOON - timedelta(microseconds=1), NOON, NOON + HOUR - timedelta(microseconds=1), NOON + HOUR):
        await books.record(at=at)
    assert _told(await books.rerate())[0] == 2


async def test_only_the_user_and_model_asked_for_count(books: Books) -> None:
    await books.record()
    await books.record(model="openai/gpt-4o")
    await books.record(user_id=f"u-{new_id()}")
    assert set((await books.rerate()).users) == {books.user_id}
    assert set((await books.rerate(model=MODEL)).models) == {MODEL}


_TOKENS = TokenCounts(prompt=10, completion=5, source=TokensSource.ESTIMATED)


@pytest.mark.parametrize(
    ("attempt", "told"),
    [
        ({"outcome": Outcome.CANCELLED, "tokens": _TOKENS}, (1, 0, COST)),
        ({"outcome": Outcome.FAILED}, (1, 0, COST)),
        ({"key_source": KeySource.TEAM_GATEWAY}, (1, 0, COST)),
        ({"key_source": KeySource.USER}, (0, 0, 0)),
        ({"key_source": KeySource.REQUEST}, (0, 0, 0)),
        ({"key_source": None, "outcome": Outcome.REFUSED}, (0, 0, 0)),
        ({"policy": KeyPolicy.SYSTEM}, (0, 0, 0)),
        ({"outcome": Outcome.INTERRUPTED}, (0, 0, 0)),
        ({"tokens": TokenCounts()}, (0, 0, 0)),
    ],
    ids=repr,
)
async def test_what_nobody_was_charged_for_is_rated_by_billings_rules(
    books: Books, attempt: dict[str, Any], told: tuple[int, int, int]
) -> None:
    await books.record(charged=0, **attempt)
    assert _told(await books.rerate()) == told


async def test_what_a_credit_is_worth_is_as_of_the_last_authorization(books: Books) -> None:
    empty = await rates(books.database, PriceFile(), None)
    assert empty.tariff == Tariff()
    await books.database.execute(
        """
        INSERT INTO billing.holds (run_id, attempt, user_id, amount_micros, expires_at, state, quote)
        VALUES ($1, 1, $2, 0, now(), 'released', $3)
        """,
        *(new_id(), books.user_id, '{"tariff": {"credit_usd": "0.05", "markup": "1.25"}}'),
    )
    try:
        used = await rates(books.database, PriceFile(markup=Decimal(2)), None)
        assert used.tariff == Tariff(Decimal("0.05"), Decimal(2))
    finally:
        await books.database.execute(
            """
            INSERT INTO billing.holds (run_id, attempt, user_id, amount_micros, expires_at, state, quote)
            VALUES ($1, 1, $2, 0, now(), 'released', $3)
            """,
            *(new_id(), books.user_id, '{"tariff": {"credit_usd": "0.01", "markup": "1"}}'),
        )


async def test_many_rows_are_read_in_little_memory(books: Books) -> None:
    rows = 20_000
    event = usage_event(user_id=books.user_id, usage_raw={"filling": "x" * 1_000})
    await books.database.execute(_MANY, books.user_id, event.model_dump_json(), NOON, rows)
    await books.rerate(until=NOON + timedelta(microseconds=1), model="openai/none")  # loads the list
    tracemalloc.start()
    try:
        found = await books.rerate()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert _told(found) == (rows, rows * COST, rows * COST)
    assert peak < 8 * 2**20


async def _post_by_hand(books: Books, name: str, period: Period) -> None:
    """Leave what posting leaves."""
    found = Rerated()
    found.add(usage_event(user_id=books.user_id), 1, 2)
    await _adjust_by_hand(books, corrections(found, name, period)[0].idempotency_key)


async def _adjust_by_hand(books: Books, key: str) -> None:
    await books.database.execute(
        """
        INSERT INTO billing.transfers (
            kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, user_id
        )
        SELECT 'adjustment', 'adjustment', $1, min(id), max(id), 1, $2, $3
        FROM billing.accounts WHERE user_id IS NULL
        """,
        *(new_id(), f"adjustment:{key}", books.user_id),
    )


@pytest.mark.parametrize(
    ("name", "since", "until", "model", "is_free"),
    [
        ("first", NOON, NOON + HOUR, MODEL, True),
        ("second", NOON, NOON + HOUR, MODEL, False),
        ("first", NOON, NOON + HOUR, None, False),
        ("first", NOON, NOON + HOUR, "openai/other:free", True),
        ("second", NOON, NOON + HOUR, "openai/other:free", True),
        ("first", NOON, NOON + 2 * HOUR, MODEL, False),
        ("second", NOON - HOUR, NOON + timedelta(microseconds=1), MODEL, False),
        ("second", NOON - HOUR, NOON + timedelta(microseconds=1), None, False),
        ("second", NOON + HOUR, NOON + 2 * HOUR, MODEL, True),
        ("second", NOON - HOUR, NOON, None, True),
    ],
)
async def test_a_period_is_corrected_once(
    books: Books, name: str, since: datetime, until: datetime, model: str | None, *, is_free: bool
) -> None:
    await _post_by_hand(books, "first", Period(NOON, NOON + HOUR, model=MODEL))
    period = Period(since, until, model=model)
    found = Rerated()
    found.add(usage_event(user_id=books.user_id), 1, 2)
    wanted = corrections(found, name, period)
    if is_free:
        is_again = (name, model) == ("first", MODEL)
        told = await check_first(books.database, wanted, name, period)
        assert [each.is_posted for each in told] == [is_again]
    else:
        with pytest.raises(UsageError, match="corrected before, as first"):
            await check_first(books.database, wanted, name, period)
    others = Rerated()
    others.add(usage_event(user_id="somebody-else"), 1, 2)
    await check_first(books.database, corrections(others, name, period), name, period)


@pytest.mark.parametrize("key", ["rerate:mine", "rerate:a:b:c", "rerate:a:1-2-3:x"])
async def test_an_adjustment_that_only_looks_like_a_correction_is_none(books: Books, key: str) -> None:
    await _adjust_by_hand(books, f"{key}{books.user_id}")
    period = Period(NOON, NOON + HOUR)
    found = Rerated()
    found.add(usage_event(user_id=books.user_id), 1, 2)
    await check_first(books.database, corrections(found, "first", period), "first", period)
