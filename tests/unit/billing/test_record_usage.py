"""Usage events in batches: each billed once, a bad one alone."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from services.billing.domain.hold import HoldState
from services.billing.ports import Entry, Usage
from services.billing.use_cases.record_usage import Verdict, record_usage
from shared.contracts.usage import TokenCounts
from shared.kernel.errors import DatabaseUnavailableError, InvalidRequestError
from shared.kernel.names import KeySource, Outcome, Unrated
from shared.kernel.prices import Quote, Rate, Tariff
from tests.fakes.billing import (
    PRICE,
    QUOTE,
    TARIFF,
    InMemoryPriceBook,
    hold_for,
    rated,
    usage,
)
from tests.fakes.billing_ledger import InMemoryLedgerStore

pytestmark = pytest.mark.unit


async def _record(ledger: InMemoryLedgerStore, batch: Sequence[Usage]) -> list[Verdict]:
    return await record_usage(batch, ledger=ledger, prices=InMemoryPriceBook(), tariff=TARIFF)


async def test_a_poisoned_event_stands_alone() -> None:
    ledger = InMemoryLedgerStore()
    batch = [usage() for _ in range(20)]
    batch[7] = usage(model="openai/\x00")
    verdicts = await _record(ledger, batch)
    assert isinstance(verdicts[7], InvalidRequestError)
    assert [isinstance(verdict, Entry) for verdict in verdicts].count(True) == 19
    assert len(ledger.entries) == 19


async def test_a_repeated_event_is_known() -> None:
    ledger = InMemoryLedgerStore()
    event = usage()
    first, again = await _record(ledger, [event, event])
    assert isinstance(first, Entry)
    assert again == first  # the same object, kept once
    assert await _record(ledger, [Usage(event.event, event.raw)]) == [None]
    assert len(ledger.entries) == 1


async def test_a_database_that_is_away_is_no_verdict() -> None:
    ledger = InMemoryLedgerStore()
    ledger.error = DatabaseUnavailableError()
    with pytest.raises(DatabaseUnavailableError):
        await _record(ledger, [usage()])


def _rate(event: Usage, amount: int | None, **hold: object) -> Entry:
    held = None if amount is None else replace(hold_for(event.event, amount), **hold)  # type: ignore[arg-type]
    return rated(event, held)


def test_the_quote_of_the_hold_outlives_its_book_and_tariff() -> None:
    dear = Quote(replace(PRICE, version="v0", prompt=Rate(Decimal(3))), Tariff(Decimal("0.01"), Decimal(2)))
    entry = _rate(usage(model="openai/gone"), 10_000, quote=dear)
    assert (entry.cost_micros, entry.price_version, entry.unrated) == (8_000, "v0", None)
    assert entry.charged is not None
    assert entry.charged.price_version == "v0"


def test_without_a_quote_it_is_rated_by_the_book() -> None:
    entry = _rate(usage(), 10_000, quote=None)
    assert (entry.cost_micros, entry.price_version) == (QUOTE.cost_micros(usage().event.tokens.counted), "v1")


@pytest.mark.parametrize("source", [KeySource.USER, KeySource.PLATFORM])
def test_an_unknown_price_charges_nothing_and_is_flagged(source: KeySource) -> None:
    entry = _rate(usage(model="openai/unknown", key_source=source), None)
    assert (entry.cost_micros, entry.price_version, entry.charged) == (None, None, None)
    assert entry.unrated is Unrated.PRICE_UNKNOWN
    assert entry.settlement.charged_micros == 0


@pytest.mark.parametrize("source", [KeySource.USER, KeySource.PLATFORM])
def test_unknown_tokens_charge_nothing_and_are_flagged(source: KeySource) -> None:
    entry = _rate(usage(tokens=TokenCounts(), key_source=source), None)
    assert (entry.cost_micros, entry.price_version, entry.charged) == (None, None, None)
    assert entry.unrated is Unrated.TOKENS_UNKNOWN


def test_what_no_hold_covered_is_told() -> None:
    entry = _rate(usage(), 1_500)
    assert entry.charged is not None
    assert (entry.charged.charged_micros, entry.charged.receivable_micros) == (2_000, 500)


def test_another_users_hold_is_not_touched() -> None:
    entry = _rate(usage(), 5_000, user_id="eve")
    assert entry.settlement.hold_state is None
    assert entry.settlement.receivable_micros == 2_000


@pytest.mark.parametrize(
    "changes",
    [
        {"key_source": KeySource.USER},
        {"outcome": Outcome.REFUSED},
        {"outcome": Outcome.INTERRUPTED},
        {"tokens": TokenCounts()},
    ],
    ids=str,
)
def test_nothing_charged_releases_the_hold(changes: dict[str, object]) -> None:
    entry = _rate(usage(**changes), 5_000)
    assert entry.settlement.hold_state is HoldState.RELEASED
    assert entry.settlement.charged_micros == 0
    assert entry.charged is None
