"""What the usage stream tells of attempts and money, taken into tables of the session's own."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import orjson

from infra.bootstrap.postgres import Connection
from infra.event_stream import Entry
from infra.ledger.differences import Difference
from infra.ledger.events import Reader, ToldTransfer, ToldUsage
from infra.recovery.rows import columns
from services.billing.domain.movement import movement_key
from shared.contracts.message import Envelope
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import TransferCause

# `movement`: the idempotency key of a transfer's whole, which is that of its first part, too; null where
# older services did not tell it.
_CREATE: Final = """
SET work_mem = '64MB';
SET jit = off;
SET enable_nestloop = off;  -- tables that just grew are planned for as if they were small

CREATE TEMP TABLE told_messages (stream_offset bigint PRIMARY KEY, at timestamptz, data jsonb);
CREATE TEMP TABLE told_usage (
    stream_offset bigint, usage_id uuid PRIMARY KEY, run_id uuid, attempt integer, user_id text,
    due_micros bigint
);
CREATE TEMP TABLE told_transfers (
    stream_offset bigint, cause_id uuid, kind text, cause text, user_id text, debit text, credit text,
    amount_micros bigint, movement text, idempotency_key text, PRIMARY KEY (cause_id, kind)
);
"""
_MESSAGES: Final = """
INSERT INTO told_messages SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::jsonb[])
ON CONFLICT DO NOTHING
"""
_USAGE: Final = """
INSERT INTO told_usage
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::integer[], $5::text[], $6::bigint[])
ON CONFLICT DO NOTHING
"""
_TRANSFERS: Final = """
INSERT INTO told_transfers
SELECT * FROM unnest(
    $1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::text[], $10::text[]
)
ON CONFLICT DO NOTHING
"""
# Of an attempt that was told of as two, since a backup was restored before, the first counts.
_ONE_PER_ATTEMPT: Final = """
DELETE FROM told_usage USING told_usage AS first
WHERE first.run_id = told_usage.run_id AND first.attempt = told_usage.attempt
  AND first.stream_offset < told_usage.stream_offset
"""
# A restored database has no statistics.
_ANALYZE: Final = """
ANALYZE told_messages, told_usage, told_transfers, inference.attempts, edge.runs,
    billing.accounts, billing.holds, billing.transfers, billing.usage
"""


async def take(database: Connection, batches: AsyncIterator[list[Entry]], realm: str) -> int:
    """Fill `told_*`; return how many messages there were. What no service published is passed over."""
    reader, count = Reader(realm), 0
    await database.execute(_CREATE)
    async for batch in batches:
        count += len(batch)
        await _take(database, reader, batch)
    await database.execute(_ANALYZE)
    await database.execute(_ONE_PER_ATTEMPT)
    return count


async def _take(database: Connection, reader: Reader, batch: Sequence[Entry]) -> None:
    messages, usages, transfers = (list[tuple[Any, ...]]() for _ in range(3))
    for entry, envelope in _decoded(batch):
        told = [part for part in reader.told(entry, envelope) if not isinstance(part, Difference)]
        if told:
            messages.append((entry.offset, envelope.time, orjson.dumps(envelope.data).decode()))
            usages += [(*part[:5], part.due_micros) for part in told if isinstance(part, ToldUsage)]
            transfers += _transfers([part for part in told if isinstance(part, ToldTransfer)], envelope.data)
    await database.execute(_MESSAGES, *columns(messages, 3))
    await database.execute(_USAGE, *columns(usages, 6))
    await database.execute(_TRANSFERS, *columns(transfers, 10))


def _decoded(batch: Sequence[Entry]) -> Iterator[tuple[Entry, Envelope]]:
    for entry in batch:
        with contextlib.suppress(InvalidRequestError):
            yield entry, Envelope.decode(entry.body)


def _transfers(parts: Sequence[ToldTransfer], data: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return rows, with the keys that billing gives them."""
    keys = [f"{part.kind}:{part.cause_id}" for part in parts]
    movement = _movement(parts[0], data.get("idempotency_key")) if parts else None
    if movement is not None:
        keys[0] = movement
    return [(*part, movement, key) for part, key in zip(parts, keys, strict=True)]


def _movement(told: ToldTransfer, asked_with: str | None) -> str | None:
    """Older services did not tell what a movement was asked for with."""
    if asked_with is None or told.cause == TransferCause.USAGE:
        return None
    return movement_key(TransferCause(told.cause), told.user_id, asked_with)
