"""Between the ledger's rows and the service's words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import orjson
from pydantic import TypeAdapter

from services.billing.domain.hold import Admission, Hold, HoldState
from services.billing.domain.settlement import is_byok
from services.billing.ports import Entry, Outgoing, Usage
from shared.contracts.message import Message, write
from shared.kernel.errors import ConflictError, InsufficientCreditsError
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING
from shared.kernel.prices import Quote

Row: TypeAlias = asyncpg.Record
Accounts: TypeAlias = Mapping[tuple[str, str], int]
"""Ids of accounts, by user and kind."""

_QUOTES_REMEMBERED: Final = 4096


@cache
def _quotes() -> TypeAdapter[Quote]:
    return TypeAdapter(Quote)


@lru_cache(_QUOTES_REMEMBERED)
def dump_quote(quote: Quote) -> str:
    return _quotes().dump_json(quote).decode()


@lru_cache(_QUOTES_REMEMBERED)
def load_quote(text: str) -> Quote:
    return _quotes().validate_json(text)


def load_hold(row: Row) -> Hold:
    return Hold(
        run_id=row["run_id"],
        attempt=row["attempt"],
        user_id=row["user_id"],
        amount_micros=row["amount_micros"],
        expires_at=row["expires_at"],
        quote=None if row["quote"] is None else load_quote(row["quote"]),
        state=HoldState(row["state"]),
    )


def load_admission(wanted: Hold, row: Row) -> Admission:
    """Read one of AUTHORIZE's answers."""
    if row["answer"] == "insufficient":
        return InsufficientCreditsError("not enough credits for this run")
    if row["answer"] == "over":
        return ConflictError("this attempt was authorized before, and is over")
    return replace(
        wanted,
        amount_micros=row["amount_micros"],
        expires_at=row["expires_at"],
        quote=None if row["quote"] is None else load_quote(row["quote"]),
    )


def outgoing(message: Message) -> Outgoing:
    """Return an event as the outbox keeps it, with an id of its own."""
    event_id = new_id()
    _, body = write(message, source=BILLING, event_id=str(event_id))
    return Outgoing(event_id, message.ROUTING_KEY, body.decode())


def distinct(usages: Sequence[Usage]) -> list[Usage]:
    """Return each usage once, by both of its keys, in the order in which every batch inserts."""
    by_id: dict[UUID, Usage] = {}
    attempts: set[tuple[UUID, int]] = set()
    for usage in usages:
        if usage.event.usage_id not in by_id and usage.run_attempt not in attempts:
            by_id[usage.event.usage_id] = usage
            attempts.add(usage.run_attempt)
    return [by_id[usage_id] for usage_id in sorted(by_id, key=attrgetter("int"))]


def hold_columns(holds: Sequence[Hold]) -> list[list[Any]]:
    """Return the arrays that AUTHORIZE takes."""
    return _columns(
        (
            hold.run_id,
            hold.attempt,
            hold.user_id,
            hold.amount_micros,
            hold.expires_at,
            None if hold.quote is None else dump_quote(hold.quote),
        )
        for hold in holds
    )


def entry_columns(entries: Sequence[Entry], accounts: Accounts) -> list[list[Any]]:
    """Return the arrays that RECORD takes."""
    return _columns(_values(entry, accounts) for entry in entries)


def _columns(values: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*values, strict=True)]


def _values(entry: Entry, accounts: Accounts) -> tuple[Any, ...]:
    event, settlement = entry.usage.event, entry.settlement
    told = None if entry.charged is None else outgoing(entry.charged)
    return (
        event.usage_id,
        event.run_id,
        event.attempt,
        event.user_id,
        orjson.dumps(entry.usage.raw).decode(),
        entry.cost_micros,
        settlement.charged_micros,
        settlement.receivable_micros,
        entry.price_version,
        entry.unrated,
        settlement.hold_state,
        not is_byok(event.key_source) and settlement.hold_state is None,
        accounts.get((event.user_id, "user")),
        accounts.get((event.user_id, "receivable")),
        told and told.event_id,
        told and told.routing_key,
        told and told.body,
    )
