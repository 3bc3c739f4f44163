"""A hold: credits set aside for one attempt until it is settled, released or expired."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.billing.domain.price import Price


class HoldState(StrEnum):
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Hold:
    """`price` is the one it was authorized at, which the attempt is rated with.

    A released hold of nothing, without a price, marks an attempt that ended before it was authorized.
    """

    run_id: UUID
    attempt: int
    user_id: str
    amount_micros: int
    expires_at: datetime
    price: Price | None
    state: HoldState = HoldState.HELD
