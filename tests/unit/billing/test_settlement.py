"""Who pays for an attempt, and out of what."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.hold import Hold, HoldState
from services.billing.domain.settlement import PAID, charge_micros, settle
from shared.kernel.names import KeyPolicy, KeySource, Outcome
from shared.kernel.prices import Tariff
from tests.fakes.billing import hold_for, usage_event

pytestmark = pytest.mark.unit

_MICROS = st.integers(min_value=0, max_value=10**15)
_CALLED = (Outcome.COMPLETED, Outcome.CANCELLED, Outcome.FAILED)
_COST = 2_000


def _hold(amount_micros: int, state: HoldState = HoldState.HELD) -> Hold:
    return hold_for(usage_event(), amount_micros, state=state)


def test_every_outcome_has_its_rule() -> None:
    assert set(PAID) == set(Outcome)


@pytest.mark.parametrize("source", [KeySource.PLATFORM, KeySource.TEAM_GATEWAY])
@pytest.mark.parametrize("policy", [policy for policy in KeyPolicy if policy is not KeyPolicy.SYSTEM])
@pytest.mark.parametrize("outcome", _CALLED)
def test_a_platform_attempt_pays_what_it_was_worth(
    outcome: Outcome, policy: KeyPolicy, source: KeySource
) -> None:
    assert charge_micros(source, policy, outcome, _COST) == _COST


@pytest.mark.parametrize("source", [KeySource.PLATFORM, KeySource.TEAM_GATEWAY])
@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome not in _CALLED])
def test_refused_expired_and_interrupted_attempts_pay_nothing(outcome: Outcome, source: KeySource) -> None:
    assert charge_micros(source, KeyPolicy.PLATFORM_ONLY, outcome, _COST) == 0


@pytest.mark.parametrize("source", [None, *(source for source in KeySource if source.is_byok)])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_whoever_brought_the_key_pays_nothing(outcome: Outcome, source: KeySource | None) -> None:
    assert all(charge_micros(source, policy, outcome, _COST) == 0 for policy in KeyPolicy)


@pytest.mark.parametrize("source", list(KeySource))
def test_the_systems_own_runs_pay_nothing(source: KeySource) -> None:
    assert all(charge_micros(source, KeyPolicy.SYSTEM, outcome, _COST) == 0 for outcome in Outcome)


@pytest.mark.parametrize("outcome", _CALLED)
def test_what_nobody_knows_the_worth_of_is_not_charged(outcome: Outcome) -> None:
    assert charge_micros(KeySource.PLATFORM, KeyPolicy.PLATFORM_ONLY, outcome, None) == 0


def test_markup_and_the_credits_worth_are_applied_and_rounded_up() -> None:
    tariff = Tariff(credit_usd=Decimal("0.03"), markup=Decimal("1.2"))
    assert tariff.micros(Decimal("0.000001")) == 40
    assert tariff.micros(Decimal("0.0000000001")) == 1


@given(charge=_MICROS, amount=_MICROS)
def test_a_charge_comes_out_of_the_hold_and_the_rest_is_owed(charge: int, amount: int) -> None:
    settlement = settle(charge, _hold(amount))
    assert settlement.charged_micros == charge
    assert settlement.receivable_micros == max(charge - amount, 0)
    assert settlement.hold_state is (HoldState.SETTLED if charge else HoldState.RELEASED)


@given(charge=_MICROS, amount=_MICROS)
@pytest.mark.parametrize("state", [HoldState.EXPIRED, HoldState.RELEASED, HoldState.SETTLED, None])
def test_without_an_open_hold_all_of_it_is_owed(state: HoldState | None, charge: int, amount: int) -> None:
    settlement = settle(charge, None if state is None else _hold(amount, state))
    assert (settlement.charged_micros, settlement.receivable_micros) == (charge, charge)
    assert settlement.hold_state is None
