"""Billing as the edge asks it, in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeVar
from uuid import UUID

from shared.contracts.billing import ListUsage, Receipt, ReceiptAttempt, UsagePage, UsageTotals
from shared.contracts.credits import (
    AdjustCredits,
    Balance,
    CreditsMoved,
    DeductCredits,
    GrantCredits,
    StatementEntry,
    StatementPage,
)
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.errors import ConflictError, InsufficientCreditsError, InvalidRequestError, PlatformError
from shared.kernel.ids import new_id
from shared.kernel.names import (
    KeyPolicy,
    KeyService,
    KeySource,
    Outcome,
    TokensSource,
    TransferCause,
    TransferKind,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Command: TypeAlias = GrantCredits | AdjustCredits | DeductCredits
ItemT = TypeVar("ItemT")


class InMemoryBilling:
    """Nobody owes anything. `asked`: how often for a receipt; `listed`: what usage was asked for; `open`: the
    runs that credits are held for.
    """

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.moves: dict[tuple[TransferCause, str, str], tuple[Command, CreditsMoved]] = {}
        self.attempts: list[ReceiptAttempt] = []
        self.held_micros = 0
        self.open: set[UUID] = set()
        self.error: PlatformError | None = None
        self.asked = 0
        self.listed: list[ListUsage] = []

    async def grant(self, command: GrantCredits) -> CreditsMoved:
        return self._move(TransferCause.GRANT, "", command, command.amount_micros)

    async def adjust(self, command: AdjustCredits) -> CreditsMoved:
        return self._move(TransferCause.ADJUSTMENT, "", command, command.amount_micros)

    async def deduct(self, command: DeductCredits) -> CreditsMoved:
        return self._move(TransferCause.DEDUCTION, command.user_id, command, -command.amount_micros)

    def _move(self, cause: TransferCause, owner: str, command: Command, micros: int) -> CreditsMoved:
        self._fail()
        self.commands.append(command)
        key = (cause, owner, command.idempotency_key)
        if key not in self.moves:
            self.moves[key] = (command, self._moved(cause, command.user_id, micros))
        known, moved = self.moves[key]
        if known != command:
            raise ConflictError("this idempotency key was used with other contents", service="billing")
        return moved

    def _moved(self, cause: TransferCause, user_id: str, micros: int) -> CreditsMoved:
        balance = self._posted(user_id)
        if cause is TransferCause.DEDUCTION and -micros > balance - self.held_micros:
            raise InsufficientCreditsError("not enough credits for this feature", service="billing")
        return CreditsMoved(
            transfer_id=new_id(),
            user_id=user_id,
            amount_micros=micros,
            receivable_micros=0,
            balance_micros=balance + micros,
            created_at=NOON,
        )

    def _posted(self, user_id: str) -> int:
        return sum(moved.amount_micros for _, moved in self.moves.values() if moved.user_id == user_id)

    async def balance(self, user_id: str) -> Balance:
        self._fail()
        return Balance(
            balance_micros=self._posted(user_id), held_micros=self.held_micros, receivable_micros=0
        )

    async def statement(self, user_id: str, limit: int, cursor: str | None) -> StatementPage:
        self._fail()
        entries = [
            _entry(cause, command, moved)
            for (cause, _, _), (command, moved) in reversed(self.moves.items())
            if moved.user_id == user_id
        ]
        items, following = _page(entries, limit, cursor)
        return StatementPage(items=tuple(items), next_cursor=following)

    async def receipt(self, user_id: str, run_id: UUID) -> Receipt:
        self.asked += 1
        self._fail()
        own = [a for a in self.attempts if (a.usage.user_id, a.usage.run_id) == (user_id, run_id)]
        return Receipt(run_id=run_id, attempts=tuple(own), is_open=run_id in self.open)

    async def usage(self, query: ListUsage) -> UsagePage:
        self._fail()
        self.listed.append(query)
        asked = [
            a
            for a in reversed(self.attempts)
            if query.user_id in {None, a.usage.user_id}
            and query.session_id in {None, a.usage.session_id}
            and query.excluding_run != a.usage.run_id
        ]
        items, following = _page(asked, query.limit, query.cursor)
        return UsagePage(items=tuple(items), next_cursor=following, totals=_totals(asked))

    def _fail(self) -> None:
        if self.error:
            raise self.error


def _page(found: Sequence[ItemT], limit: int, cursor: str | None) -> tuple[Sequence[ItemT], str | None]:
    if cursor is not None and not cursor.isdecimal():
        raise InvalidRequestError("not a cursor", service="billing")
    first = int(cursor or 0)
    return found[first : first + limit], str(first + limit) if first + limit < len(found) else None


def _entry(cause: TransferCause, command: Command, moved: CreditsMoved) -> StatementEntry:
    return StatementEntry(
        kind=TransferKind(cause.value),
        cause=cause,
        cause_id=moved.transfer_id,
        amount_micros=moved.amount_micros,
        receivable_micros=moved.receivable_micros,
        balance_micros=moved.balance_micros,
        run_id=getattr(command, "run_id", None),
        attempt=None,
        reason=getattr(command, "reason", getattr(command, "feature", None)),
        created_at=moved.created_at,
    )


def _totals(attempts: Sequence[ReceiptAttempt]) -> UsageTotals:
    events = [attempt.usage for attempt in attempts]
    return UsageTotals(
        runs=len({event.run_id for event in events}),
        attempts=len(events),
        keyed_attempts=sum(event.key_source is not None for event in events),
        byok_attempts=sum(event.key_source is not None and event.key_source.is_byok for event in events),
        unrated_attempts=sum(attempt.cost_micros is None for attempt in attempts),
        prompt_tokens=sum(event.tokens.prompt for event in events),
        completion_tokens=sum(event.tokens.completion for event in events),
        cached_tokens=sum(event.tokens.cached for event in events),
        cache_write_tokens=sum(event.tokens.cache_write for event in events),
        reasoning_tokens=sum(event.tokens.reasoning for event in events),
        cost_micros=sum(attempt.cost_micros or 0 for attempt in attempts),
        charged_micros=sum(attempt.charged_micros for attempt in attempts),
    )


def billed(  # what most attempts look like
    run_id: UUID,
    user_id: str = "alice",
    *,
    attempt: int = 1,
    source: KeySource | None = KeySource.PLATFORM,
    policy: KeyPolicy = KeyPolicy.USER_KEY_PREFERRED,
    outcome: Outcome = Outcome.COMPLETED,
    error_code: str | None = None,
    cost_micros: int | None = 1500,
    charged_micros: int = 1500,
    session_id: str | None = None,
) -> ReceiptAttempt:
    usage = UsageRecorded(
        usage_id=new_id(),
        run_id=run_id,
        attempt=attempt,
        user_id=user_id,
        flow="chat",
        session_id=session_id,
        policy=policy,
        key_source=source,
        credential_id="platform:openai:1",
        provider=KeyService.OPENAI,
        model="openai/gpt-4o-mini",
        stream=False,
        outcome=outcome,
        error_code=error_code,
        tokens=TokenCounts(prompt=10, completion=5, source=TokensSource.MEASURED),
        requested_at=NOON,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=1),
    )
    return ReceiptAttempt(usage=usage, cost_micros=cost_micros, charged_micros=charged_micros)
