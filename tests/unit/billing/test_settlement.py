"""Who pays for an attempt, and out of what."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.hold import Hold, HoldState
from services.billing.domain.settlement import Attempt, settle
from shared.kernel.names import KeyPolicy, KeySource, Outcome, TokensSource
from shared.kernel.prices import Tariff, Tokens
from tests.fakes.billing import PRICE, TARIFF, hold_for, usage_event

pytestmark = pytest.mark.unit

_MICROS = st.integers(min_value=0, max_value=10**15)
_PAID = Attempt(
    KeySource.PLATFORM,
    KeyPolicy.PLATFORM_ONLY,
    Outcome.COMPLETED,
    Tokens(prompt=10, completion=5),
    TokensSource.MEASURED,
)


def _hold(amount_micros: int, state: HoldState = HoldState.HELD) -> Hold:
    return hold_for(usage_event(), amount_micros, state=state)


@pytest.mark.parametrize("source", [KeySource.PLATFORM, KeySource.TEAM_GATEWAY])
@pytest.mark.parametrize(
    "outcome", [Outcome.COMPLETED, Outcome.CANCELLED, Outcome.FAILED, Outcome.INTERRUPTED]
)
def test_a_platform_attempt_pays_for_the_tokens_it_used(outcome: Outcome, source: KeySource) -> None:
    attempt = replace(_PAID, outcome=outcome, key_source=source)
    assert attempt.is_charged
    assert attempt.cost_micros(PRICE, TARIFF) == 2_000


@pytest.mark.parametrize(
    "changes",
    [
        *({"key_source": source} for source in KeySource if source.is_byok),
        {"key_source": None},
        {"policy": KeyPolicy.SYSTEM},
        {"policy": KeyPolicy.SYSTEM, "key_source": KeySource.TEAM_GATEWAY},
        {"outcome": Outcome.REFUSED},
        {"outcome": Outcome.EXPIRED},
        {"tokens_source": TokensSource.UNKNOWN},
    ],
    ids=str,
)
def test_who_is_not_charged(changes: dict[str, object]) -> None:
    assert not replace(_PAID, **changes).is_charged  # type: ignore[arg-type]


def test_what_it_was_worth_is_known_only_with_tokens_and_price() -> None:
    assert _PAID.cost_micros(None, TARIFF) is None
    assert replace(_PAID, tokens_source=TokensSource.UNKNOWN).cost_micros(PRICE, TARIFF) is None
    assert replace(_PAID, outcome=Outcome.REFUSED).cost_micros(None, TARIFF) == 0


def test_a_byok_attempt_is_worth_what_it_would_have_cost() -> None:
    assert replace(_PAID, key_source=KeySource.USER).cost_micros(PRICE, TARIFF) == 2_000


def test_markup_and_the_credits_worth_are_applied_and_rounded_up() -> None:
    tariff = Tariff(credit_usd=Decimal("0.03"), markup=Decimal("1.2"))
    assert tariff.micros(Decimal("0.000001")) == 40
    assert tariff.micros(Decimal("0.0000000001")) == 1


@given(charge=_MICROS, amount=_MICROS)
def test_a_charge_comes_out_of_the_hold_and_the_rest_is_owed(charge: int, amount: int) -> None:
    settlement = settle(charge, _hold(amount))
    assert settlement.charged_micros == charge
    assert settlement.receivable_micros == max(charge - amount, 0)
    assert settlement.released_micros == amount
    assert settlement.hold_state is (HoldState.SETTLED if charge else HoldState.RELEASED)


@given(charge=_MICROS, amount=_MICROS)
@pytest.mark.parametrize("state", [HoldState.EXPIRED, HoldState.RELEASED, HoldState.SETTLED, None])
def test_without_an_open_hold_all_of_it_is_owed(state: HoldState | None, charge: int, amount: int) -> None:
    settlement = settle(charge, None if state is None else _hold(amount, state))
    assert (settlement.charged_micros, settlement.receivable_micros) == (charge, charge)
    assert settlement.released_micros == 0
    assert settlement.hold_state is None
