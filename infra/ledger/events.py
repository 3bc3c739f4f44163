"""What one message of the stream says about money.

The rules are said here a second time, from the contracts alone: an auditor does not ask billing's code.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import orjson

from infra.event_stream import Entry
from infra.ledger.differences import Difference
from shared.contracts.credits import CreditsAdjusted, CreditsCharged, CreditsGranted
from shared.contracts.message import Envelope, Message, read
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import (
    BILLING,
    INFERENCE,
    KeyPolicy,
    Outcome,
    TokensSource,
    TransferCause,
    TransferKind,
)

_NOT_CHARGED: Final = {Outcome.REFUSED, Outcome.EXPIRED, Outcome.INTERRUPTED}
_BIGINT: Final = 2**63
_SHOWN_MAX: Final = 200
_INTEGER: Final = 2**31
_BY_HAND: Final = {TransferCause.ADJUSTMENT, TransferCause.DEDUCTION}
_FORGED: Final = "not published by the service whose event it is; not counted"
_UNREADABLE: Final = "published, but not as its contract says"


class ToldUsage(NamedTuple):
    """A usage event. `due_micros`: what it says is to be charged, None when it does not say."""

    stream_offset: int
    usage_id: UUID
    run_id: UUID
    attempt: int
    user_id: str
    event: str
    due_micros: int | None


class ToldTransfer(NamedTuple):
    """A transfer that an event of billing's tells of. `debit` and `credit` are kinds of accounts."""

    stream_offset: int
    cause_id: UUID
    kind: str
    cause: str
    user_id: str
    debit: str
    credit: str
    amount_micros: int


Told: TypeAlias = ToldUsage | ToldTransfer | Difference
_Rule: TypeAlias = Callable[[int, Envelope], tuple[ToldTransfer, ...]]


class Reader:
    """Reads a realm's messages."""

    def __init__(self, realm: str) -> None:
        self._publishers = {
            UsageRecorded.event_type(): f"{realm}_{INFERENCE}",
            **{event.event_type(): f"{realm}_{BILLING}" for event in _OF_BILLING},
        }

    def read(self, message: Entry) -> tuple[Told, ...]:
        """Return what a message tells; nothing when a service published it and it is not about money."""
        try:
            envelope = Envelope.decode(message.body)
        except InvalidRequestError:
            return (self._unreadable(message, "no event"),)
        return self.told(message, envelope)

    def told(self, message: Entry, envelope: Envelope) -> tuple[Told, ...]:
        """Return the same of a message that was decoded before."""
        publisher = self._publishers.get(envelope.type)
        subject = f"{envelope.type} {envelope.id}"
        if publisher is None and message.sender in self._publishers.values():
            return ()
        if message.sender != publisher:
            return (_at(message, _FORGED, subject),)
        try:
            return _told(message.offset, envelope)
        except InvalidRequestError:
            return (_at(message, _UNREADABLE, subject),)

    def _unreadable(self, message: Entry, subject: str) -> Difference:
        known = message.sender in self._publishers.values()
        return _at(message, _UNREADABLE if known else _FORGED, subject)


def is_foreign(difference: Difference) -> bool:
    """Return whether it is about a message that no service published: it says nothing about the ledger."""
    return difference.what == _FORGED


def due_micros(event: UsageRecorded) -> int | None:
    """Return what a usage event says is to be charged; None when it does not tell what it was worth."""
    is_charged = (
        event.key_source is not None
        and not event.key_source.is_byok
        and event.policy is not KeyPolicy.SYSTEM
        and event.outcome not in _NOT_CHARGED
        and event.tokens.source is not TokensSource.UNKNOWN
    )
    return event.cost_micros if is_charged else 0


def _at(message: Entry, what: str, subject: str) -> Difference:
    told = f"offset {message.offset}, by {message.sender or 'nobody the broker vouches for'}"
    return Difference(what, _shown(subject), None, told)


def _shown(text: str) -> str:
    """Return what anybody may have written so that it can be kept and printed, on one line."""
    shown = text[:_SHOWN_MAX]
    return shown if shown.isprintable() else ascii(shown)[1:-1]


def _told(offset: int, envelope: Envelope) -> tuple[Told, ...]:
    """Raise InvalidRequestError for what breaks its contract, or cannot be kept by a database."""
    if envelope.type == UsageRecorded.event_type():
        return (_usage(offset, envelope),)
    (contract,) = (event for event in _OF_BILLING if event.event_type() == envelope.type)
    return tuple(transfer for transfer in _OF_BILLING[contract](offset, envelope) if transfer.amount_micros)


def _usage(offset: int, envelope: Envelope) -> ToldUsage:
    event = read(envelope, UsageRecorded)
    text, due = _text(envelope.data), due_micros(event)
    if abs(due or 0) >= _BIGINT or event.attempt >= _INTEGER:
        raise InvalidRequestError("no row of a table")
    return ToldUsage(offset, event.usage_id, event.run_id, event.attempt, event.user_id, text, due)


def _text(data: dict[str, Any]) -> str:
    """Raise InvalidRequestError for what no jsonb holds."""
    try:
        text = orjson.dumps(data).decode()
    except orjson.JSONEncodeError:
        raise InvalidRequestError("a number is too large") from None
    if "\\u0000" in text and _has_nul(data):
        raise InvalidRequestError("a text holds a zero")
    return text


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(_has_nul(part) for part in value)
    return isinstance(value, str) and "\x00" in value


def _charged(offset: int, envelope: Envelope) -> tuple[ToldTransfer, ...]:
    event = read(envelope, CreditsCharged)
    owed = event.receivable_micros
    about = (offset, event.usage_id), (TransferCause.USAGE, event.user_id)
    return (
        _transfer(*about, TransferKind.CHARGE, "user", "revenue", event.charged_micros - owed),
        _transfer(*about, TransferKind.RECEIVABLE, "receivable", "revenue", owed),
    )


def _granted(offset: int, envelope: Envelope) -> tuple[ToldTransfer, ...]:
    event = read(envelope, CreditsGranted)
    about = (offset, event.transfer_id), (TransferCause.GRANT, event.user_id)
    return (
        _transfer(*about, TransferKind.GRANT, "grants", "user", event.amount_micros),
        _transfer(*about, TransferKind.REPAYMENT, "user", "receivable", event.repaid_micros),
    )


def _adjusted(offset: int, envelope: Envelope) -> tuple[ToldTransfer, ...]:
    event = read(envelope, CreditsAdjusted)
    if event.cause not in _BY_HAND:
        raise InvalidRequestError("no cause of an adjustment")
    about = (offset, event.transfer_id), (event.cause, event.user_id)
    kind = TransferKind(event.cause.value)
    if event.amount_micros > 0:
        return (
            _transfer(*about, kind, "revenue", "user", event.amount_micros),
            _transfer(*about, TransferKind.REPAYMENT, "user", "receivable", -event.receivable_micros),
        )
    owed = event.receivable_micros
    return (
        _transfer(*about, kind, "user", "revenue", -event.amount_micros - owed),
        _transfer(*about, TransferKind.RECEIVABLE, "receivable", "revenue", owed),
    )


def _transfer(  # noqa: PLR0917 - a row
    where: tuple[int, UUID], whose: tuple[str, str], kind: TransferKind, debit: str, credit: str, micros: int
) -> ToldTransfer:
    """Raise InvalidRequestError for an amount that no transfer has."""
    (offset, cause_id), (cause, user_id) = where, whose
    if not 0 <= micros < _BIGINT or "\x00" in user_id:
        raise InvalidRequestError("no transfer has this amount")
    return ToldTransfer(offset, cause_id, kind.value, str(cause), user_id, debit, credit, micros)


_OF_BILLING: Final[dict[type[Message], _Rule]] = {
    CreditsCharged: _charged,
    CreditsGranted: _granted,
    CreditsAdjusted: _adjusted,
}
