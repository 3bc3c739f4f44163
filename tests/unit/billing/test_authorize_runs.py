"""Authorizing runs: the worst case is held, each request has its own answer."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.hold import Hold
from services.billing.domain.movement import plan
from services.billing.use_cases.authorize_runs import Answer, authorize_runs
from shared.contracts.billing import AuthorizeRun, RunAuthorized
from shared.kernel.errors import (
    DatabaseUnavailableError,
    InsufficientCreditsError,
    InvalidRequestError,
    PriceUnknownError,
)
from shared.kernel.prices import Tariff
from tests.fakes.billing import (
    NOON,
    QUOTE,
    TARIFF,
    InMemoryPriceBook,
    authorization,
    grant,
    hold_for,
    usage_event,
)
from tests.fakes.billing_ledger import InMemoryLedgerStore

pytestmark = pytest.mark.unit


async def _ask(ledger: InMemoryLedgerStore, *requests: AuthorizeRun, tariff: Tariff = TARIFF) -> list[Answer]:
    return await authorize_runs(requests, ledger=ledger, prices=InMemoryPriceBook(), tariff=tariff, now=NOON)


async def _ledger(amount_micros: int) -> InMemoryLedgerStore:
    ledger = InMemoryLedgerStore()
    await ledger.move(grant("ada", amount_micros), plan)
    return ledger


async def test_the_worst_case_is_held_at_its_price() -> None:
    ledger, request = await _ledger(10_000), authorization()
    (answer,) = await _ask(ledger, request)
    assert answer == RunAuthorized(hold_micros=2_000, expires_at=request.expires_at, quote=QUOTE)
    assert ledger.holds[request.run_id, 1].quote == QUOTE


async def test_asked_again_the_answer_has_the_quote_that_stands() -> None:
    ledger, request = await _ledger(10_000), authorization()
    dear = Tariff(Decimal("0.001"), Decimal(2))
    (first,) = await _ask(ledger, request)
    assert await _ask(ledger, request, tariff=dear) == [first]


async def test_a_fraction_of_a_micro_is_rounded_up() -> None:
    tariff = Tariff(Decimal("0.01"), Decimal("1.00001"))
    (answer,) = await _ask(await _ledger(10_000), authorization(), tariff=tariff)
    assert isinstance(answer, RunAuthorized)
    assert answer.hold_micros == 2_001


async def test_each_request_has_its_own_answer() -> None:
    ledger = await _ledger(4_500)
    answers = await _ask(
        ledger,
        authorization(model="openai/unknown"),
        authorization(),
        authorization(user_id="\x00"),
        authorization(user_id="bob"),
        authorization(),
        authorization(),
    )
    wanted: list[type[Answer]] = [
        PriceUnknownError,
        RunAuthorized,
        InvalidRequestError,
        InsufficientCreditsError,
        RunAuthorized,
        InsufficientCreditsError,
    ]
    assert [type(answer) for answer in answers] == wanted
    assert ledger.held("ada") == 4_000


async def test_a_database_that_is_away_is_nobodys_answer() -> None:
    ledger = await _ledger(4_500)
    ledger.error = DatabaseUnavailableError()
    with pytest.raises(DatabaseUnavailableError):
        await _ask(ledger, authorization(), authorization())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 100))), st.integers(1, 300))
async def test_nobody_holds_more_than_there_is(asked: list[tuple[str, int]], balance: int) -> None:
    ledger = InMemoryLedgerStore()
    for user in "ab":
        await ledger.move(grant(user, balance), plan)
    wanted = [hold_for(usage_event(user_id=user), amount) for user, amount in asked]
    answers = await ledger.authorize(wanted)
    for user, there in (("a", balance), ("b", balance), ("c", 0)):
        taken = [answer for answer in answers if isinstance(answer, Hold) and answer.user_id == user]
        refused = [hold for hold, answer in zip(wanted, answers, strict=True) if answer is not hold]
        held = sum(hold.amount_micros for hold in taken)
        assert held <= there
        assert all(hold.amount_micros + held > there for hold in refused if hold.user_id == user)
