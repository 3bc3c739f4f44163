"""Usage events in batches: each billed once, a bad one alone."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.ports import Entry, Usage
from services.billing.use_cases.record_usage import Verdict, rate_usage, record_usage
from shared.contracts.usage import TokenCounts
from shared.kernel.errors import DatabaseUnavailableError, InvalidRequestError
from shared.kernel.names import KeySource, Outcome, TokensSource
from shared.kernel.prices import Rate
from tests.fakes.billing import (
    PRICE,
    TARIFF,
    InMemoryLedgerStore,
    InMemoryPriceBook,
    granted,
    hold_for,
    usage,
)

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
    return rate_usage(event, held, prices=InMemoryPriceBook(), tariff=TARIFF)


def test_the_price_of_the_hold_outlives_its_book() -> None:
    dear = replace(PRICE, version="v0", prompt=Rate(Decimal(3)))
    entry = _rate(usage(model="openai/gone"), 10_000, price=dear)
    assert (entry.cost_micros, entry.price_version) == (4_000, "v0")
    assert entry.charged is not None
    assert entry.charged.price_version == "v0"


def test_an_unknown_price_charges_nothing() -> None:
    entry = _rate(usage(model="openai/unknown", key_source=KeySource.USER), None)
    assert (entry.cost_micros, entry.price_version, entry.charged) == (None, None, None)
    assert entry.settlement.charged_micros == 0


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
    [{"key_source": KeySource.USER}, {"outcome": Outcome.REFUSED}, {"tokens": TokenCounts()}],
    ids=str,
)
def test_nothing_charged_releases_the_hold(changes: dict[str, object]) -> None:
    entry = _rate(usage(**changes), 5_000)
    assert entry.settlement.released_micros == 5_000
    assert entry.settlement.charged_micros == 0
    assert entry.charged is None


_EVENTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5_000), st.sampled_from(list(KeySource)), st.booleans()),
    max_size=12,
)


@given(_EVENTS, st.integers(1, 1_000_000), st.randoms(use_true_random=False))
async def test_whatever_comes_in_whatever_order_the_books_balance(
    events: list[tuple[int, int, KeySource, bool]], balance: int, random: Random
) -> None:
    ledger = InMemoryLedgerStore()
    await ledger.grant(granted("ada", balance), "start")
    batch = []
    for cached, tokens, source, authorized in events:
        counts = TokenCounts(prompt=tokens, completion=5, cached=cached, source=TokensSource.MEASURED)
        batch.append(usage(key_source=source, tokens=counts))
        if authorized and ledger.posted(("user", "ada")) - ledger.held("ada") >= 1_000:
            await ledger.authorize([hold_for(batch[-1].event, 1_000)])
    deliveries = batch * 2
    random.shuffle(deliveries)
    await _record(ledger, deliveries)
    after = await ledger.balance("ada")
    charged = sum(entry.settlement.charged_micros for _, entry in ledger.entries)
    assert len(ledger.entries) == len(batch)
    assert after.held_micros == 0
    assert after.balance_micros >= 0
    assert after.balance_micros - after.receivable_micros == balance - charged
    assert await ledger.faults() == []
