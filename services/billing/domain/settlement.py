"""Who pays for an attempt, and out of what."""

from dataclasses import dataclass

from services.billing.domain.hold import Hold, HoldState
from shared.kernel.names import KeyPolicy, KeySource, Outcome, TokensSource
from shared.kernel.prices import Price, Tariff, Tokens

_NEVER_CALLED = frozenset({Outcome.REFUSED, Outcome.EXPIRED})


def is_platforms(source: KeySource | None) -> bool:
    """Return whether the key was the platform's own: of its pools, or of the team's gateway."""
    return source is not None and not source.is_byok


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the rules need to know of an attempt that ended."""

    key_source: KeySource | None
    policy: KeyPolicy
    outcome: Outcome
    tokens: Tokens
    tokens_source: TokensSource

    @property
    def is_charged(self) -> bool:
        """Whether the user pays: by the attempt's own key source, never by what else the user has."""
        return (
            is_platforms(self.key_source)
            and self.policy is not KeyPolicy.SYSTEM
            and self.outcome not in _NEVER_CALLED
            and self.tokens_source is not TokensSource.UNKNOWN
        )

    def cost_micros(self, price: Price | None, tariff: Tariff) -> int | None:
        """Return what it was worth; None when its tokens or their price are unknown."""
        if self.outcome in _NEVER_CALLED:
            return 0
        if price is None or self.tokens_source is TokensSource.UNKNOWN:
            return None
        return tariff.micros(price.cost_usd(self.tokens))


@dataclass(frozen=True, slots=True)
class Settlement:
    """Amounts in credit micros. `receivable_micros` is the part of the charge that the hold does not cover.

    `released_micros` stop being held; `hold_state` is what an open hold becomes, None without one.
    """

    charged_micros: int
    receivable_micros: int
    released_micros: int
    hold_state: HoldState | None


def settle(charge_micros: int, hold: Hold | None) -> Settlement:
    """Take a charge out of the hold; what the hold does not cover, the user owes."""
    is_open = hold is not None and hold.state is HoldState.HELD
    available = hold.amount_micros if hold is not None and is_open else 0
    closed = HoldState.SETTLED if charge_micros else HoldState.RELEASED
    return Settlement(
        charged_micros=charge_micros,
        receivable_micros=max(charge_micros - available, 0),
        released_micros=available,
        hold_state=closed if is_open else None,
    )
