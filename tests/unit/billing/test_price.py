"""What a model costs."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.prices import Price, Rate, Tier, Tokens

pytestmark = pytest.mark.unit

_USD = st.decimals(min_value=0, max_value=1000, places=4)
_COUNT = st.integers(min_value=0, max_value=2_000_000)
_TIERS = st.lists(st.builds(Tier, above=_COUNT, usd=_USD), max_size=3).map(
    lambda tiers: tuple(sorted(tiers, key=lambda tier: tier.above))
)
_RATE = st.builds(Rate, usd=_USD, tiers=_TIERS)
_PRICE = st.builds(
    Price,
    version=st.just("v"),
    prompt=_RATE,
    completion=_RATE,
    cached=st.none() | _RATE,
    reasoning=st.none() | _RATE,
)


def test_a_price_is_per_million_tokens() -> None:
    price = Price("v", Rate(Decimal("0.15")), Rate(Decimal("0.60")))
    assert price.cost_usd(Tokens(prompt=1_000, completion=500)) == Decimal("0.00045")


def test_cached_and_reasoning_tokens_have_rates_of_their_own() -> None:
    price = Price(
        "v", Rate(Decimal(2)), Rate(Decimal(8)), cached=Rate(Decimal(1)), reasoning=Rate(Decimal(4))
    )
    tokens = Tokens(prompt=1_000_000, completion=1_000_000, cached=500_000, reasoning=250_000)
    assert price.cost_usd(tokens) == Decimal("8.5")


def test_without_a_rate_of_their_own_they_cost_as_the_rest() -> None:
    price = Price("v", Rate(Decimal(2)), Rate(Decimal(8)))
    assert price.cost_usd(Tokens(100, 100, cached=50, reasoning=50)) == price.cost_usd(Tokens(100, 100))


def test_more_cached_than_prompt_is_taken_as_all_cached() -> None:
    price = Price("v", Rate(Decimal(2)), Rate(Decimal(8)), cached=Rate(Decimal(1)))
    assert price.cost_usd(Tokens(100, 0, cached=900)) == price.cost_usd(Tokens(100, 0, cached=100))


def test_a_long_prompt_moves_all_tokens_to_its_tier() -> None:
    rate = Rate(Decimal(1), (Tier(200_000, Decimal(2)), Tier(500_000, Decimal(3))))
    assert [rate.at(prompt) for prompt in (200_000, 200_001, 500_001)] == [1, 2, 3]


@given(_PRICE, _COUNT, _COUNT, st.data())
def test_no_attempt_within_the_counts_costs_more_than_the_worst(
    price: Price, prompt_max: int, completion_max: int, data: st.DataObject
) -> None:
    prompt = data.draw(st.integers(0, prompt_max))
    completion = data.draw(st.integers(0, completion_max))
    tokens = Tokens(
        prompt, completion, data.draw(st.integers(0, prompt)), data.draw(st.integers(0, completion))
    )
    assert 0 <= price.cost_usd(tokens) <= price.worst_usd(prompt_max, completion_max)
