"""Between the ledger's rows and the service's words."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from services.billing.domain.hold import Hold, HoldState
from services.billing.domain.settlement import is_platforms
from services.billing.ports import Entry, Usage
from shared.contracts.billing import ReceiptAttempt
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.prices import Price


@cache
def _prices() -> TypeAdapter[Price]:
    return TypeAdapter(Price)


def dump_price(price: Price | None) -> str | None:
    return None if price is None else _prices().dump_json(price).decode()


def load_hold(row: Mapping[str, Any]) -> Hold:
    price = row["price"]
    return Hold(
        run_id=row["run_id"],
        attempt=row["attempt"],
        user_id=row["user_id"],
        amount_micros=row["amount_micros"],
        expires_at=row["expires_at"],
        price=None if price is None else _prices().validate_json(price),
        state=HoldState(row["state"]),
    )


def load_attempt(row: Mapping[str, Any]) -> ReceiptAttempt:
    return ReceiptAttempt(
        usage=UsageRecorded.model_validate_json(row["event"]),
        cost_micros=row["cost_micros"],
        charged_micros=row["charged_micros"],
    )


def distinct(usages: Sequence[Usage]) -> list[Usage]:
    """Return each usage once, by both of its keys, in the order in which every batch inserts."""
    by_id: dict[UUID, Usage] = {}
    attempts: set[tuple[UUID, int]] = set()
    for usage in usages:
        if usage.event.usage_id not in by_id and usage.run_attempt not in attempts:
            by_id[usage.event.usage_id] = usage
            attempts.add(usage.run_attempt)
    return [by_id[usage_id] for usage_id in sorted(by_id)]


def hold_columns(holds: Sequence[Hold]) -> list[list[Any]]:
    """Return the arrays that HOLD takes."""
    return _columns(
        (
            hold.run_id,
            hold.attempt,
            hold.user_id,
            hold.amount_micros,
            hold.expires_at,
            dump_price(hold.price),
        )
        for hold in holds
    )


def entry_columns(entries: Sequence[Entry]) -> list[list[Any]]:
    """Return the arrays that RECORD takes."""
    return _columns(_values(entry) for entry in entries)


def _columns(values: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*values, strict=True)]


def _values(entry: Entry) -> tuple[Any, ...]:
    event, settlement, charged = entry.usage.event, entry.settlement, entry.charged
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
        settlement.released_micros,
        settlement.hold_state,
        is_platforms(event.key_source) and settlement.hold_state is None,
        new_id() if charged else None,
        charged.event_type() if charged else None,
        charged.model_dump_json() if charged else None,
    )
