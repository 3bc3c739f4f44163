"""The law of the ledger: what a user must have and pay, said once more and in the plainest arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeAlias
from uuid import UUID

from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeyPolicy, KeySource, Outcome, TokensSource, TransferCause
from shared.kernel.prices import Price, Quote, Rate, Tariff
from tests.fakes.billing import MODEL

Account: TypeAlias = tuple[str, str]
"""Its kind, and its user: "" for the platform's own."""

DEAR: Final = Quote(Price("v0", Rate(Decimal(3)), Rate(Decimal(3))), Tariff(Decimal("0.005"), Decimal(2)))
"""1,200 micros a token."""


@dataclass(frozen=True)
class Moved:
    """One transfer as it is kept."""

    cause: str
    debit: Account
    credit: Account
    micros: int


@dataclass(frozen=True)
class Billed:
    """One attempt as it is kept."""

    is_platforms: bool
    is_free: bool
    """Of the system, or ended in a way that nobody pays for."""
    cost_micros: int | None
    charged_micros: int


@dataclass
class Books:
    """What a user must have, in the plainest arithmetic."""

    posted: int = 0
    owed: int = 0
    held: dict[tuple[UUID, int], int] = field(default_factory=dict)

    @property
    def available(self) -> int:
        return self.posted - sum(self.held.values())

    def give(self, micros: int) -> None:
        repaid = min(micros, self.owed)
        self.posted += micros - repaid
        self.owed -= repaid

    def take(self, micros: int) -> None:
        taken = min(micros, self.available)
        self.posted -= taken
        self.owed += micros - taken

    def charge(self, micros: int, attempt: tuple[UUID, int]) -> None:
        covered = min(micros, self.held.pop(attempt, 0))
        self.posted -= covered
        self.owed += micros - covered


def charge_of(event: UsageRecorded, quote: Quote | None) -> int:
    """Return what the user must pay: for known tokens, on the platform's key, when the end was seen."""
    pays = (
        event.key_source in {KeySource.PLATFORM, KeySource.TEAM_GATEWAY}
        and event.policy is not KeyPolicy.SYSTEM
        and event.outcome in {Outcome.COMPLETED, Outcome.CANCELLED, Outcome.FAILED}
        and event.tokens.source in {TokensSource.MEASURED, TokensSource.ESTIMATED}
        and (quote is not None or event.model == MODEL)
    )
    prompt, completion = event.tokens.prompt, event.tokens.completion
    tokens = 1_200 * (prompt + completion) if quote is DEAR else 100 * prompt + 200 * completion
    return tokens if pays else 0


def hold_to_the_law(
    moved: Sequence[Moved], billed: Sequence[Billed], kept: dict[str, tuple[int, int]]
) -> None:
    """Entries sum to zero and make the balances; platform attempts pay what they cost, BYOK pays nothing."""
    sums: dict[Account, int] = {}
    for transfer in moved:
        assert transfer.micros > 0
        assert transfer.debit != transfer.credit
        sums[transfer.debit] = sums.get(transfer.debit, 0) - transfer.micros
        sums[transfer.credit] = sums.get(transfer.credit, 0) + transfer.micros
    assert sum(sums.values()) == 0
    for user, (posted, owed) in kept.items():
        assert (sums.get(("user", user), 0), -sums.get(("receivable", user), 0)) == (posted, owed)
    charged = sum(transfer.micros for transfer in moved if transfer.cause == TransferCause.USAGE)
    worth = sum(each.cost_micros or 0 for each in billed if each.is_platforms and not each.is_free)
    assert charged == sum(each.charged_micros for each in billed) == worth
    assert all(each.charged_micros == 0 for each in billed if not each.is_platforms)


def is_free(policy: str, outcome: str) -> bool:
    """Return whether nobody pays for an attempt that ended so, whatever it was worth."""
    paid = {Outcome.COMPLETED, Outcome.CANCELLED, Outcome.FAILED}
    return policy == KeyPolicy.SYSTEM or outcome not in paid
