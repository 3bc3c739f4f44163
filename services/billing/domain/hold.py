"""A hold: credits set aside for one attempt until it is settled, released or expired."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from shared.kernel.errors import ConflictError, InsufficientCreditsError
from shared.kernel.prices import Quote


class HoldState(StrEnum):
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Hold:
    """`quote` is what it was authorized at, which the attempt is rated with.

    A released hold of nothing, without a quote, marks an attempt that ended before it was authorized.
    """

    run_id: UUID
    attempt: int
    user_id: str
    amount_micros: int
    expires_at: datetime
    quote: Quote | None
    state: HoldState = HoldState.HELD


Admission: TypeAlias = Hold | InsufficientCreditsError | ConflictError
"""The answer to a wanted hold: what stands now, or why it may not be taken."""
