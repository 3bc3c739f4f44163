"""What a model costs."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.prices import Price, Quote, Rate, Tariff, Tier, Tokens

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
    cache_write=st.none() | _RATE,
)


def test_a_price_is_per_million_tokens() -> None:
    price = Price("v", Rate(Decimal("0.15")), Rate(Decimal("0.60")))
    assert price.cost_usd(Tokens(prompt=1_000, completion=500)) == Decimal("0.00045")


@pytest.mark.parametrize(("kind", "cost"), [("cached", "9.5"), ("cache_write", "10.25"), ("reasoning", "9")])
def test_tokens_of_a_kind_have_a_rate_of_their_own(kind: str, cost: str) -> None:
    rates = {"cached": Rate(Decimal(1)), "cache_write": Rate(Decimal("2.5")), "reasoning": Rate(Decimal(6))}
    price = Price("v", Rate(Decimal(2)), Rate(Decimal(8)), **{kind: rates[kind]})
    tokens = Tokens(1_000_000, 1_000_000, **{kind: 500_000})
    assert price.cost_usd(tokens) == Decimal(cost)


def test_without_a_rate_of_their_own_they_cost_as_the_rest() -> None:
    price = Price("v", Rate(Decimal(2)), Rate(Decimal(8)))
    tokens = Tokens(100, 100, cached=50, reasoning=50, cache_write=50)
    assert price.cost_usd(tokens) == price.cost_usd(Tokens(100, 100))


def test_a_rate_of_nothing_is_a_rate() -> None:
    price = Price("v", Rate(Decimal(2)), Rate(Decimal(8)), cached=Rate(Decimal(0)))
    assert price.cost_usd(Tokens(1_000_000, 0, cached=1_000_000)) == 0


def test_more_cached_than_prompt_is_taken_as_all_cached() -> None:
    price = Price("v", Rate(Decimal(2)), Rate(Decimal(8)), cached=Rate(Decimal(1)))
    assert price.cost_usd(Tokens(100, 0, cached=900)) == price.cost_usd(Tokens(100, 0, cached=100))


def test_what_is_read_from_the_cache_is_not_also_written_to_it() -> None:
    price = Price("v", Rate(Decimal(2)), Rate(Decimal(8)), Rate(Decimal(1)), cache_write=Rate(Decimal(3)))
    assert price.cost_usd(Tokens(100, 0, cached=80, cache_write=80)) == price.cost_usd(
        Tokens(100, 0, cached=80, cache_write=20)
    )


def test_a_long_prompt_moves_all_tokens_to_its_tier() -> None:
    rate = Rate(Decimal(1), (Tier(200_000, Decimal(2)), Tier(500_000, Decimal(3))))
    assert [rate.at(prompt) for prompt in (200_000, 200_001, 500_001)] == [1, 2, 3]


def test_the_tier_of_an_answer_is_its_prompts() -> None:
    price = Price("v", Rate(Decimal(0)), Rate(Decimal(1), (Tier(1_000, Decimal(2)),)))
    assert price.cost_usd(Tokens(1_000, 1_000_000)) == 1
    assert price.cost_usd(Tokens(1_001, 1_000_000)) == 2


def test_a_quote_is_in_credits_rounded_up() -> None:
    quote = Quote(
        Price("v", Rate(Decimal("0.15")), Rate(Decimal("0.6"))), Tariff(Decimal("0.01"), Decimal(2))
    )
    assert quote.cost_micros(Tokens(1, 0)) == 30
    assert quote.cost_micros(Tokens(0, 1)) == 120
    third = Quote(quote.price, Tariff(Decimal("0.03"), Decimal(1)))
    assert third.cost_micros(Tokens(1, 0)) == 5
    assert third.cost_micros(Tokens(0, 0)) == 0


@given(_PRICE, _COUNT, _COUNT, st.data())
def test_no_attempt_within_the_counts_costs_more_than_the_worst(
    price: Price, prompt_max: int, completion_max: int, data: st.DataObject
) -> None:
    prompt = data.draw(st.integers(0, prompt_max))
    completion = data.draw(st.integers(0, completion_max))
    tokens = Tokens(
        prompt,
        completion,
        cached=data.draw(st.integers(0, prompt)),
        reasoning=data.draw(st.integers(0, completion)),
        cache_write=data.draw(st.integers(0, prompt)),
    )
    assert 0 <= price.cost_usd(tokens) <= price.worst_usd(prompt_max, completion_max)
