"""What the usage stream tells of attempts and money, taken into tables of the session's own."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from infra.bootstrap.postgres import Connection
from infra.ledger.differences import Difference
from infra.ledger.events import Reader, ToldTransfer, ToldUsage
from infra.recovery import sql
from infra.usage_stream import Entry
from services.billing.domain.movement import movement_key
from shared.contracts.message import Envelope
from shared.kernel.names import TransferCause


class _Message(NamedTuple):
    offset: int
    at: datetime
    data: str


class _Transfer(NamedTuple):
    """`movement`: the idempotency key of the whole, which is that of its first part, too."""

    cause_id: UUID
    kind: str
    cause: str
    user_id: str
    debit: str
    credit: str
    amount_micros: int
    movement: str
    idempotency_key: str
    offset: int


async def take(database: Connection, batches: AsyncIterator[list[Entry]], realm: str) -> int:
    """Fill `told_*`; return how many messages there were. What no service published is passed over."""
    reader, count = Reader(realm), 0
    await database.execute(sql.CREATE)
    async for batch in batches:
        count += len(batch)
        await _take(database, reader, batch)
    await database.execute(sql.ANALYZE)
    return count


async def _take(database: Connection, reader: Reader, batch: Sequence[Entry]) -> None:
    messages = list[_Message]()
    usages, transfers = list[tuple[Any, ...]](), list[_Transfer]()
    for entry in batch:
        told = [part for part in reader.read(entry) if not isinstance(part, Difference)]
        if not told:
            continue
        envelope = Envelope.decode(entry.body)
        messages.append(_Message(entry.offset, envelope.time, orjson.dumps(envelope.data).decode()))
        usages += [_usage(part) for part in told if isinstance(part, ToldUsage)]
        transfers += _transfers([part for part in told if isinstance(part, ToldTransfer)], envelope.data)
    for statement, rows in (
        (sql.TAKE_MESSAGES, messages),
        (sql.TAKE_USAGE, usages),
        (sql.TAKE_TRANSFERS, transfers),
    ):
        if rows:
            await database.execute(statement, *_columns(rows))


def _usage(told: ToldUsage) -> tuple[Any, ...]:
    return told.usage_id, told.stream_offset, told.run_id, told.attempt, told.user_id, told.due_micros


def _transfers(parts: Sequence[ToldTransfer], data: dict[str, Any]) -> list[_Transfer]:
    keys = [f"{part.kind}:{part.cause_id}" for part in parts]
    if parts and parts[0].cause != TransferCause.USAGE:
        keys[0] = _movement_key(parts[0], data.get("idempotency_key"))
    return [_transfer(part, keys[0], key) for part, key in zip(parts, keys, strict=True)]


def _movement_key(told: ToldTransfer, asked_with: str | None) -> str:
    """Older services did not tell what it was asked for with."""
    return movement_key(TransferCause(told.cause), told.user_id, asked_with or f"recovered:{told.cause_id}")


def _transfer(told: ToldTransfer, movement: str, key: str) -> _Transfer:
    return _Transfer(
        told.cause_id,
        told.kind,
        told.cause,
        told.user_id,
        told.debit,
        told.credit,
        told.amount_micros,
        movement,
        key,
        told.stream_offset,
    )


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
