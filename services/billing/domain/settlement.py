"""Who pays for an attempt, and out of what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.billing.domain.hold import Hold, HoldState
from shared.kernel.names import KeyPolicy, KeySource, Outcome

PAID: Final[Mapping[Outcome, bool]] = {
    Outcome.COMPLETED: True,
    Outcome.CANCELLED: True,  # for what was measured or estimated until then
    Outcome.FAILED: True,  # the same
    Outcome.INTERRUPTED: False,  # nobody saw its end: our loss
    Outcome.REFUSED: False,  # no provider was called
    Outcome.EXPIRED: False,  # the same
}
"""Whether its user pays for an attempt on the platform's key that ended so, if tokens and price are known.

For unknown ones nobody pays: the attempt is `unrated`."""


def is_byok(source: KeySource | None) -> bool:
    """Return whether the key was the user's own; not when there was none."""
    return source is not None and source.is_byok


def is_platforms(source: KeySource | None) -> bool:
    """Return whether the key was the platform's own: of its pools, or of the team's gateway."""
    return source is not None and not source.is_byok


def charge_micros(
    key_source: KeySource | None, policy: KeyPolicy, outcome: Outcome, cost_micros: int | None
) -> int:
    """Return what the user pays: by the attempt's own key source, never by what else the user has."""
    pays = is_platforms(key_source) and policy is not KeyPolicy.SYSTEM and PAID[outcome]
    return cost_micros or 0 if pays else 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """Amounts in credit micros. `receivable_micros` is the part of the charge that the hold does not cover.

    `hold_state` is what an open hold becomes, None without one.
    """

    charged_micros: int
    receivable_micros: int
    hold_state: HoldState | None


def settle(charged_micros: int, hold: Hold | None) -> Settlement:
    """Take a charge out of the hold while it is open; what it does not cover, the user owes."""
    if hold is None or hold.state is not HoldState.HELD:
        return Settlement(charged_micros, receivable_micros=charged_micros, hold_state=None)
    return Settlement(
        charged_micros,
        receivable_micros=max(charged_micros - hold.amount_micros, 0),
        hold_state=HoldState.SETTLED if charged_micros else HoldState.RELEASED,
    )
