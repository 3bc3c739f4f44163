"""Why a run's user paid nothing: read from what its attempts used, never from what a client says."""

from collections.abc import Sequence
from enum import StrEnum

from shared.contracts.billing import ReceiptAttempt
from shared.kernel.names import KeyPolicy


class Bypass(StrEnum):
    """`byok`: the user's own key; `system`: a flow nobody pays; `not_charged`: nothing to charge."""

    BYOK = "byok"
    SYSTEM = "system"
    NOT_CHARGED = "not_charged"


def bypass_of(attempts: Sequence[ReceiptAttempt]) -> Bypass | None:
    """Return why a run cost its user nothing; None when it cost something."""
    if any(attempt.charged_micros for attempt in attempts):
        return None
    called = [attempt.usage for attempt in attempts if attempt.usage.outcome.was_called]
    sources = [usage.key_source for usage in called if usage.key_source is not None]
    if sources and all(source.is_byok for source in sources):
        return Bypass.BYOK
    if sources and all(usage.policy is KeyPolicy.SYSTEM for usage in called):
        return Bypass.SYSTEM
    return Bypass.NOT_CHARGED
