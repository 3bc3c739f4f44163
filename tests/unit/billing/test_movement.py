"""What moving credits posts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.movement import Movement, event_of, keys, plan, receivable_change
from shared.contracts.credits import Balance, CreditsAdjusted, CreditsGranted
from shared.kernel.errors import InsufficientCreditsError
from shared.kernel.ids import new_id
from shared.kernel.names import TransferCause

pytestmark = pytest.mark.unit

GRANT, ADJUSTMENT, DEDUCTION = TransferCause.GRANT, TransferCause.ADJUSTMENT, TransferCause.DEDUCTION
AMOUNTS = st.integers(0, 10**15)


def movement(cause: TransferCause, amount: int) -> Movement:
    return Movement(new_id(), cause, "ada", amount, "k", "root", reason=None if cause is GRANT else "because")


def balance(posted: int, held: int = 0, owed: int = 0) -> Balance:
    return Balance(balance_micros=posted, held_micros=held, receivable_micros=owed)


@pytest.mark.parametrize(
    ("cause", "amount", "before", "posted"),
    [
        (GRANT, 5, balance(1), ["grant grants→user 5"]),
        (GRANT, 5, balance(1, owed=9), ["grant grants→user 5", "repayment user→receivable 5"]),
        (GRANT, 5, balance(0, owed=2), ["grant grants→user 5", "repayment user→receivable 2"]),
        (ADJUSTMENT, 5, balance(0), ["adjustment revenue→user 5"]),
        (ADJUSTMENT, 5, balance(0, owed=2), ["adjustment revenue→user 5", "repayment user→receivable 2"]),
        (ADJUSTMENT, -5, balance(7), ["adjustment user→revenue 5"]),
        (ADJUSTMENT, -5, balance(7, 4), ["adjustment user→revenue 3", "receivable receivable→revenue 2"]),
        (ADJUSTMENT, -5, balance(4, 4), ["receivable receivable→revenue 5"]),
        (DEDUCTION, -5, balance(7, 2), ["deduction user→revenue 5"]),
    ],
    ids=lambda value: None if isinstance(value, int | list) else str(value),
)
def test_what_is_posted(cause: TransferCause, amount: int, before: Balance, posted: list[str]) -> None:
    postings = plan(movement(cause, amount), before)
    assert [f"{one.kind} {one.debit}→{one.credit} {one.amount_micros}" for one in postings] == posted


@pytest.mark.parametrize("before", [balance(0), balance(4), balance(7, 3)], ids=str)
def test_a_feature_takes_only_what_is_available(before: Balance) -> None:
    with pytest.raises(InsufficientCreditsError):
        plan(movement(DEDUCTION, -5), before)


@given(
    cause=st.sampled_from([GRANT, ADJUSTMENT]),
    amount=st.integers(-(10**15), 10**15).filter(bool),
    held=AMOUNTS,
    available=AMOUNTS,
    owed=AMOUNTS,
)
def test_what_is_given_is_what_the_user_has_more_or_owes_less(
    cause: TransferCause, amount: int, held: int, available: int, owed: int
) -> None:
    amount = abs(amount) if cause is GRANT else amount
    postings = plan(movement(cause, amount), balance(held + available, held, owed))
    more = sum(one.amount_micros * ((one.credit == "user") - (one.debit == "user")) for one in postings)
    assert more - receivable_change(postings) == amount
    assert available + more >= 0
    assert owed + receivable_change(postings) >= 0
    assert all(one.amount_micros > 0 for one in postings)


def test_the_first_posting_has_the_clients_key() -> None:
    given_ = movement(GRANT, 5)
    postings = plan(given_, balance(0, owed=2))
    assert keys(given_, postings) == ["grant:k", f"repayment:{given_.transfer_id}"]


def test_no_two_users_keys_are_one() -> None:
    pairs = [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a", "b%3Ac")]
    one = movement(DEDUCTION, -1)
    made = {replace(one, user_id=user, idempotency_key=key).key for user, key in pairs}
    assert len(made) == len(pairs)


def test_a_grant_tells_what_it_repaid() -> None:
    given_ = movement(GRANT, 5)
    assert event_of(given_, plan(given_, balance(0, owed=2))) == CreditsGranted(
        transfer_id=given_.transfer_id,
        user_id="ada",
        amount_micros=5,
        repaid_micros=2,
        granted_by="root",
        idempotency_key=given_.idempotency_key,
    )


def test_a_correction_tells_why_and_what_is_owed() -> None:
    taken = replace(movement(ADJUSTMENT, -5), run_id=new_id())
    assert event_of(taken, plan(taken, balance(3))) == CreditsAdjusted(
        transfer_id=taken.transfer_id,
        user_id="ada",
        cause=ADJUSTMENT,
        amount_micros=-5,
        receivable_micros=2,
        reason="because",
        run_id=taken.run_id,
        adjusted_by="root",
        idempotency_key=taken.idempotency_key,
    )
