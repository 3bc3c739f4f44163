"""What an attempt was worth: one rule, for the worker that tells it and for billing that charges it."""

from decimal import Decimal

import pytest

from shared.contracts.usage import TokenCounts, worth_micros
from shared.kernel.names import KeySource, Outcome, TokensSource
from shared.kernel.prices import Price, Quote, Rate, Tariff

pytestmark = pytest.mark.unit

QUOTE = Quote(Price("v1", Rate(Decimal(1)), Rate(Decimal(2))), Tariff(Decimal("0.01"), Decimal(1)))
MEASURED = TokenCounts(prompt=10, completion=5, source=TokensSource.MEASURED)
ESTIMATED = TokenCounts(prompt=10, completion=5, source=TokensSource.ESTIMATED)


@pytest.mark.parametrize("tokens", [MEASURED, ESTIMATED])
@pytest.mark.parametrize("source", [KeySource.USER, KeySource.PLATFORM])
@pytest.mark.parametrize(
    "outcome", [Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED, Outcome.INTERRUPTED]
)
def test_known_tokens_cost_their_price(outcome: Outcome, source: KeySource, tokens: TokenCounts) -> None:
    assert worth_micros(outcome, source, tokens, QUOTE) == 2000  # 20 millionths of a dollar


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.EXPIRED])
@pytest.mark.parametrize("quote", [QUOTE, None])
def test_what_ended_before_the_call_was_worth_nothing(outcome: Outcome, quote: Quote | None) -> None:
    assert worth_micros(outcome, KeySource.PLATFORM, TokenCounts(), quote) == 0


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED, Outcome.INTERRUPTED])
def test_without_a_key_nobody_was_called(outcome: Outcome) -> None:
    assert worth_micros(outcome, None, TokenCounts(), None) == 0


def test_unknown_tokens_or_an_unknown_price_are_worth_nobody_knows_what() -> None:
    assert worth_micros(Outcome.FAILED, KeySource.USER, TokenCounts(), QUOTE) is None
    assert worth_micros(Outcome.COMPLETED, KeySource.USER, MEASURED, None) is None
