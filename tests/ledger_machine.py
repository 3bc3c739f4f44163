"""A machine that tries to break the law of the ledger.

Whatever is held, settled, released, expired, given, taken, repeated, reordered or torn, in whatever order.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias, TypeVar, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from services.billing.domain.movement import Movement, plan
from services.billing.ports import CreditStore, LedgerStore, Usage
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.errors import ConflictError, DatabaseUnavailableError, InsufficientCreditsError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeySource, Outcome, TokensSource, TransferCause
from shared.kernel.prices import Quote
from tests.fakes.billing import MODEL, QUOTE, hold_for, movement, rated, usage
from tests.ledger_law import DEAR, Billed, Books, Moved, charge_of, hold_to_the_law

ResultT = TypeVar("ResultT")


class World(Protocol):
    """A ledger to be tried, with users of the trial's own."""

    @property
    def ledger(self) -> LedgerStore: ...
    @property
    def credits(self) -> CreditStore: ...

    def tear(self) -> None:
        """Let the next change be lost before its commit: it raises DatabaseUnavailableError."""
        ...

    async def moved(self, users: Sequence[str]) -> list[Moved]:
        """Return all transfers of these users."""
        ...

    async def billed(self, users: Sequence[str]) -> list[Billed]: ...

    async def faults(self) -> Sequence[object]:
        """Return what does not add up."""
        ...


Run: TypeAlias = Callable[[Awaitable[Any]], Any]
"""Completes a coroutine."""


def try_to_break(make_world: Callable[[], World], run: Run, *, examples: int, steps: int) -> None:
    """Try this many lives of this many steps each; fail with the shortest that breaks the law."""
    tried = settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=list(HealthCheck),
    )
    machine = cast("type[RuleBasedStateMachine]", lambda: LedgerMachine(make_world(), run))
    run_state_machine_as_test(machine, settings=tried)


@dataclass
class Attempt:
    """One attempt: who began it, what it will have used."""

    usage: Usage
    quote: Quote | None = None
    is_over: bool = False
    is_billed: bool = False
    expires_at: datetime | None = None

    @property
    def key(self) -> tuple[UUID, int]:
        return self.usage.run_attempt

    @property
    def event(self) -> UsageRecorded:
        return self.usage.event


_COUNTS = st.builds(
    TokenCounts,
    prompt=st.integers(0, 30),
    completion=st.integers(0, 30),
    source=st.sampled_from(list(TokensSource)),
).map(lambda counts: TokenCounts() if counts.source is TokensSource.UNKNOWN else counts)
_EVENTS = st.fixed_dictionaries(
    {
        "key_source": st.sampled_from([KeySource.PLATFORM] * 4 + [None, *KeySource]),
        "policy": st.sampled_from([KeyPolicy.PLATFORM_ONLY] * 4 + list(KeyPolicy)),
        "outcome": st.sampled_from([Outcome.COMPLETED] * 4 + list(Outcome)),
        "tokens": _COUNTS,
        "model": st.sampled_from([MODEL] * 4 + ["openai/unheard-of"]),
    }
)
_MICROS = st.integers(1, 20_000)
_WHO = st.sampled_from("abc")
_TORN = st.sampled_from([False] * 5 + [True])


class LedgerMachine(RuleBasedStateMachine):
    """What is torn is tried again, as billing's callers do."""

    attempts = Bundle("attempts")
    movements = Bundle("movements")

    def __init__(self, world: World, run: Run) -> None:
        super().__init__()
        self._world = world
        self._run = run
        self._users = {name: f"{name}-{new_id()}" for name in "abc"}
        self._books = {user: Books() for user in self._users.values()}
        self._open: list[Attempt] = []

    # -- what happens -------------------------------------------------------------------------------------

    @initialize(micros=_MICROS)
    def somebody_has_credits(self, micros: int) -> None:
        self._move(self._movement(TransferCause.GRANT, "a", micros), torn=False)

    @rule(target=attempts, who=_WHO, changes=_EVENTS)
    def begin(self, who: str, changes: dict[str, Any]) -> Attempt:
        return Attempt(usage(user_id=self._users[who], **changes))

    @rule(
        attempt=attempts,
        micros=st.integers(0, 20_000),
        quote=st.sampled_from([QUOTE, DEAR, None]),
        is_late=st.booleans(),
        torn=_TORN,
    )
    def hold(self, attempt: Attempt, micros: int, quote: Quote | None, is_late: bool, torn: bool) -> None:  # noqa: FBT001
        """Also again, and after its end; but nobody asks for one when the user's own key has been used."""
        if attempt.is_billed and not attempt.is_over:
            return
        expires_at = datetime.now(UTC) + timedelta(seconds=-1 if is_late else 3_600)
        wanted = hold_for(attempt.event, micros, quote=quote, expires_at=expires_at)
        (answer,) = self._try(lambda: self._world.ledger.authorize([wanted]), torn=torn)
        books = self._books[attempt.event.user_id]
        if attempt.is_over:
            assert isinstance(answer, ConflictError)
        elif attempt.key in books.held:
            assert (answer.amount_micros, answer.quote) == (books.held[attempt.key], attempt.quote)
        elif micros > books.available:
            assert isinstance(answer, InsufficientCreditsError)
        else:
            assert answer == wanted
            books.held[attempt.key] = micros
            attempt.quote, attempt.expires_at = quote, expires_at
            self._open.append(attempt)

    @rule(attempt=attempts, torn=_TORN)
    def hold_for_another(self, attempt: Attempt, torn: bool) -> None:  # noqa: FBT001
        """Nobody holds for an attempt of somebody else's, once it is known."""
        if attempt.is_over or attempt.key in self._books[attempt.event.user_id].held:
            eve = hold_for(attempt.event, 0, user_id=f"eve-{new_id()}")
            (answer,) = self._try(lambda: self._world.ledger.authorize([eve]), torn=torn)
            assert isinstance(answer, ConflictError)

    @rule(delivered=st.lists(attempts, min_size=1, max_size=6), torn=_TORN)
    def settle_or_release(self, delivered: list[Attempt], torn: bool) -> None:  # noqa: FBT001
        """Batches as they come: late, out of order, with repetitions within and between them."""
        batch = [attempt.usage for attempt in delivered]
        kept = self._try(lambda: self._world.ledger.record(batch, rated), torn=torn)
        new = list({attempt.key: attempt for attempt in delivered if not attempt.is_billed}.values())
        assert {entry.usage.event.usage_id for entry in kept} == {each.event.usage_id for each in new}
        for attempt in new:
            self._end(attempt)

    @rule(torn=_TORN)
    def expire(self, torn: bool) -> None:  # noqa: FBT001
        now = datetime.now(UTC)
        self._try(lambda: self._world.ledger.expire_holds(now), torn=torn)
        for attempt in self._open:
            books = self._books[attempt.event.user_id]
            if attempt.key in books.held and attempt.expires_at is not None and attempt.expires_at <= now:
                del books.held[attempt.key]
                attempt.is_over = True

    @rule(target=movements, who=_WHO, micros=_MICROS, torn=_TORN)
    def grant(self, who: str, micros: int, torn: bool) -> Movement:  # noqa: FBT001
        return self._move(self._movement(TransferCause.GRANT, who, micros), torn=torn)

    @rule(target=movements, who=_WHO, micros=_MICROS | _MICROS.map(lambda micros: -micros), torn=_TORN)
    def adjust(self, who: str, micros: int, torn: bool) -> Movement:  # noqa: FBT001
        return self._move(self._movement(TransferCause.ADJUSTMENT, who, micros), torn=torn)

    @rule(target=movements, who=_WHO, micros=_MICROS, torn=_TORN)
    def deduct(self, who: str, micros: int, torn: bool) -> Any:  # noqa: FBT001
        wanted = self._movement(TransferCause.DEDUCTION, who, -micros)
        if micros <= self._books[wanted.user_id].available:
            return self._move(wanted, torn=torn)
        with pytest.raises(InsufficientCreditsError):
            self._run(self._world.credits.move(wanted, plan))
        return multiple()

    @rule(made=movements, torn=_TORN)
    def repeat(self, made: Movement, torn: bool) -> None:  # noqa: FBT001
        """The same key again moves nothing; with other contents it is refused."""
        again = replace(made, transfer_id=new_id())
        moved = self._try(lambda: self._world.credits.move(again, plan), torn=torn)
        assert moved.transfer_id == made.transfer_id
        with pytest.raises(ConflictError):
            self._run(self._world.credits.move(replace(again, amount_micros=made.amount_micros * 2), plan))

    # -- the law ------------------------------------------------------------------------------------------

    @invariant()
    def everybody_has_what_they_must(self) -> None:
        for user, books in self._books.items():
            found = self._run(self._world.credits.balance(user))
            there = (found.balance_micros, found.held_micros, found.receivable_micros)
            assert there == (books.posted, sum(books.held.values()), books.owed)
            assert found.balance_micros - found.held_micros >= 0
            assert found.receivable_micros >= 0

    def teardown(self) -> None:
        """Hold what is kept to the law."""
        users = list(self._users.values())
        moved = self._run(self._world.moved(users))
        billed = self._run(self._world.billed(users))
        hold_to_the_law(moved, billed, {user: (b.posted, b.owed) for user, b in self._books.items()})
        assert list(self._run(self._world.faults())) == []

    # -- how ----------------------------------------------------------------------------------------------

    def _movement(self, cause: TransferCause, who: str, micros: int) -> Movement:
        return movement(cause, self._users[who], micros)

    def _move(self, wanted: Movement, *, torn: bool) -> Movement:
        moved = self._try(lambda: self._world.credits.move(wanted, plan), torn=torn)
        assert (moved.transfer_id, moved.amount_micros) == (wanted.transfer_id, wanted.amount_micros)
        books = self._books[wanted.user_id]
        if wanted.amount_micros > 0:
            books.give(wanted.amount_micros)
        else:
            books.take(-wanted.amount_micros)
        assert moved.balance_micros == books.posted
        return wanted

    def _end(self, attempt: Attempt) -> None:
        books = self._books[attempt.event.user_id]
        was_held = attempt.key in books.held
        books.charge(charge_of(attempt.event, attempt.quote), attempt.key)
        attempt.is_billed = True
        source = attempt.event.key_source
        attempt.is_over = attempt.is_over or was_held or source is None or not source.is_byok

    def _try(self, change: Callable[[], Awaitable[ResultT]], *, torn: bool) -> Any:
        """Make a change; when it is torn, see that nothing of it stayed, and make it again."""
        if torn:
            self._world.tear()
            with pytest.raises(DatabaseUnavailableError):
                self._run(change())
            self.everybody_has_what_they_must()
        return self._run(change())
