"""What the auditor takes from a message of the stream."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infra.event_stream import Entry
from infra.ledger.differences import Difference
from infra.ledger.events import Reader, ToldUsage, due_micros, is_foreign
from services.billing.domain.movement import Movement, event_of, plan
from services.billing.domain.settlement import charge_micros
from shared.contracts.credits import Balance, CreditsAdjusted, CreditsCharged, CreditsGranted
from shared.contracts.message import Message
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome, TokensSource, TransferCause
from tests.envelopes import encoded, enveloped, event_body
from tests.fakes.billing import usage_event

pytestmark = pytest.mark.unit

_READER: Final = Reader("house")
_PUBLISHER: Final[dict[type[Message], str]] = {UsageRecorded: "house_inference"}


def told(message: Message, sender: str | None = None) -> tuple[Any, ...]:
    sender = _PUBLISHER.get(type(message), "house_billing") if sender is None else sender
    return _READER.read(Entry(7, sender, event_body(message, source="test")))


def test_a_usage_event_says_what_is_due() -> None:
    event = usage_event(cost_micros=450)
    (usage,) = told(event)
    assert isinstance(usage, ToldUsage)
    assert (usage.usage_id, usage.stream_offset, usage.due_micros) == (event.usage_id, 7, 450)
    assert UsageRecorded.model_validate_json(usage.event) == event


@pytest.mark.parametrize(
    ("how", "due"),
    [
        pytest.param({}, 450, id="platform"),
        pytest.param({"key_source": KeySource.TEAM_GATEWAY}, 450, id="team"),
        *(
            pytest.param({"key_source": source}, 0, id=str(source))
            for source in (KeySource.REQUEST, KeySource.SESSION, KeySource.USER_GATEWAY, KeySource.USER)
        ),
        pytest.param({"key_source": None}, 0, id="no key"),
        pytest.param({"policy": KeyPolicy.SYSTEM}, 0, id="system"),
        pytest.param({"outcome": Outcome.FAILED}, 450, id="failed"),
        pytest.param({"outcome": Outcome.CANCELLED}, 450, id="cancelled"),
        pytest.param({"outcome": Outcome.INTERRUPTED}, 0, id="interrupted"),
        pytest.param({"outcome": Outcome.REFUSED}, 0, id="refused"),
        pytest.param({"outcome": Outcome.EXPIRED}, 0, id="expired"),
        pytest.param({"tokens": TokenCounts(source=TokensSource.UNKNOWN)}, 0, id="unknown tokens"),
        pytest.param({"cost_micros": None}, None, id="not told"),
    ],
)
def test_what_is_due(how: dict[str, Any], due: int | None) -> None:
    assert due_micros(usage_event(**{"cost_micros": 450, **how})) == due


@pytest.mark.parametrize("sender", ["", "house_billing", "house_admin", "other_inference"])
def test_anothers_usage_event_counts_for_nothing(sender: str) -> None:
    (difference,) = told(usage_event(), sender)
    assert isinstance(difference, Difference)
    assert is_foreign(difference)


@pytest.mark.parametrize("sender", ["", "house_inference", "house_admin"])
def test_anothers_grant_counts_for_nothing(sender: str) -> None:
    grant = CreditsGranted(transfer_id=new_id(), user_id="ada", amount_micros=1, granted_by="root")
    (difference,) = told(grant, sender)
    assert is_foreign(difference)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"specversion": "1.0"}',
        event_body(usage_event(), source="x").replace(b'"attempt":1', b'"attempt":0'),
        event_body(usage_event(), source="x").replace(b'"attempt":1', b'"attempt":2147483648'),
        event_body(usage_event(model="openai/\x00"), source="x"),
        event_body(usage_event(cost_micros=2**63), source="x"),
    ],
    ids=["empty", "no text", "no object", "no event", "no attempt", "too large", "zero", "too dear"],
)
def test_what_no_contract_says_is_told_and_counts_for_nothing(body: bytes) -> None:
    (difference,) = _READER.read(Entry(7, "house_inference", body))
    assert isinstance(difference, Difference)
    assert difference.what == "published, but not as its contract says"
    assert "offset 7, by house_inference" in str(difference)
    assert not is_foreign(difference)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x00b", r"a\x00b"),
        ("\x1b[2J\n0 messages", r"\x1b[2J\n0 messages"),
        ("ü", "ü"),
        ("x" * 9_999, "x" * 100),
    ],
    ids=["zero", "terminal", "text", "long"],
)
def test_what_a_forger_calls_a_message_is_shown_on_a_line(name: str, shown: str) -> None:
    grant = CreditsGranted(transfer_id=new_id(), user_id="ada", amount_micros=1, granted_by="root")
    body = encoded(enveloped(grant, source="x").model_copy(update={"type": name}))
    (difference,) = _READER.read(Entry(7, "house_admin", body))
    assert isinstance(difference, Difference)
    assert difference.subject.startswith(shown)
    assert difference.subject.isprintable()
    assert len(difference.subject) <= 800


def test_a_backslash_before_a_zero_is_a_text_like_others() -> None:
    (usage,) = told(usage_event(usage_raw={"text": "\\u0000"}))
    assert isinstance(usage, ToldUsage)


def test_a_kind_of_event_that_is_to_come_is_passed_over() -> None:
    body = event_body(usage_event(), source="x").replace(b"usage.recorded.v1", b"usage.recorded.v2")
    assert _READER.read(Entry(7, "house_inference", body)) == ()


@given(
    source=st.none() | st.sampled_from(KeySource),
    policy=st.sampled_from(KeyPolicy),
    outcome=st.sampled_from(Outcome),
    cost=st.integers(0, 10**9),
)
def test_what_is_due_is_what_billing_charges(
    source: KeySource | None, policy: KeyPolicy, outcome: Outcome, cost: int
) -> None:
    event = usage_event(key_source=source, policy=policy, outcome=outcome, cost_micros=cost)
    assert due_micros(event) == charge_micros(source, policy, outcome, cost)


@given(charged=st.integers(1, 10**9), share=st.integers(0, 10**9))
def test_a_charge_told_is_two_transfers_at_most(charged: int, share: int) -> None:
    owed = min(share, charged)
    event = _charged(charged, owed)
    rows = told(event)
    posted = {(row.kind, row.debit, row.credit): row.amount_micros for row in rows}
    wanted = {
        ("charge", "user", "revenue"): charged - owed,
        ("receivable", "receivable", "revenue"): owed,
    }
    assert posted == {what: amount for what, amount in wanted.items() if amount}
    assert {(row.cause, row.cause_id, row.user_id) for row in rows} == {("usage", event.usage_id, "ada")}


@given(
    cause=st.sampled_from([TransferCause.GRANT, TransferCause.ADJUSTMENT, TransferCause.DEDUCTION]),
    amount=st.integers(1, 10**9),
    sign=st.sampled_from([1, -1]),
    has=st.builds(
        Balance,
        balance_micros=st.integers(10**9, 2 * 10**9),
        held_micros=st.integers(0, 10**9),
        receivable_micros=st.integers(0, 10**9),
    ),
)
def test_a_movement_told_is_what_billing_posts(
    cause: TransferCause, amount: int, sign: int, has: Balance
) -> None:
    """Whatever there is and is owed: billing's rule and the auditor's reading of its event agree."""
    if cause is not TransferCause.ADJUSTMENT:
        sign = 1 if cause is TransferCause.GRANT else -1
    amount = min(amount, has.balance_micros - has.held_micros) if cause is TransferCause.DEDUCTION else amount
    assume(amount)
    amount *= sign
    movement = Movement(new_id(), cause, "ada", amount, "key", "root", reason="why")
    postings = plan(movement, has)
    rows = told(event_of(movement, postings))
    assert {(row.kind, row.debit, row.credit, row.amount_micros) for row in rows} == {
        (posting.kind, posting.debit, posting.credit, posting.amount_micros) for posting in postings
    }
    assert {(row.cause, row.cause_id, row.user_id) for row in rows} == {(cause, movement.transfer_id, "ada")}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lambda: _charged(1, 2), id="owes more than the charge"),
        pytest.param(lambda: _charged(2**63, 0), id="too much"),
        pytest.param(lambda: _adjusted(TransferCause.USAGE, 1), id="no cause of an adjustment"),
        pytest.param(lambda: _adjusted(TransferCause.ADJUSTMENT, -1, owed=2), id="owes more than was taken"),
    ],
)
def test_money_that_no_transfer_can_be_is_no_money(event: Callable[[], Message]) -> None:
    (difference,) = told(event())
    assert isinstance(difference, Difference)


def _charged(charged_micros: int, receivable_micros: int) -> CreditsCharged:
    return CreditsCharged(
        usage_id=new_id(),
        run_id=new_id(),
        attempt=1,
        user_id="ada",
        provider=KeyService.OPENAI,
        model="openai/x",
        charged_micros=charged_micros,
        receivable_micros=receivable_micros,
        price_version="v1",
    )


def _adjusted(cause: TransferCause, amount_micros: int, *, owed: int = 0) -> CreditsAdjusted:
    return CreditsAdjusted(
        transfer_id=new_id(),
        user_id="ada",
        cause=cause,
        amount_micros=amount_micros,
        receivable_micros=owed,
        reason="why",
        adjusted_by="root",
    )
