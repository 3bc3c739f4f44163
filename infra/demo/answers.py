"""The edge's answers that the story reads (docs/api.md); other fields are ignored."""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class StoredKey(_Answer):
    id: str
    service: str
    hint: str
    status: str


class Grant(_Answer):
    transfer_id: str


class Balance(_Answer):
    """Credits, and the same in integer micros."""

    balance: Decimal
    held: Decimal
    receivable: Decimal
    balance_micros: int


class Deduction(_Answer):
    """What billing did about a run, in credits; `bypassed`: nothing, and `reason` says why."""

    bypassed: bool
    reason: str | None
    charged: Decimal


class ReceiptAttempt(_Answer):
    """One attempt as billed; `cost` is what it was worth, `charged` what the user paid, in credits."""

    key_source: str | None
    credential_id: str | None = None
    provider: str
    model: str
    outcome: str
    cost: Decimal | None
    charged: Decimal


class Receipt(_Answer):
    run_id: str
    attempts: tuple[ReceiptAttempt, ...]

    @property
    def charged(self) -> Decimal:
        """Credits that the whole run cost its user."""
        return sum((attempt.charged for attempt in self.attempts), Decimal(0))
