"""Which platform keys cool down or are out, in Postgres, for all replicas."""

from collections.abc import Iterable, Sequence
from typing import Final

import asyncpg

from services.key_vault.domain.platform import PlatformMark, stronger
from shared.kernel.names import KeyService, PlatformKeyState
from shared.runtime.postgres import Pool, database_errors

_ALL: Final = "select credential_id, service, state, until, reason, marked_at from platform_key_marks"

# As `stronger` has it: out before cooling, of two outs the later, of two coolings the longer.
_MARK: Final = """
insert into platform_key_marks as known (credential_id, service, state, until, reason, marked_at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[])
on conflict (credential_id) do update set
    service = excluded.service, state = excluded.state, until = excluded.until, reason = excluded.reason,
    marked_at = excluded.marked_at
where (excluded.state = 'out', coalesce(excluded.until, excluded.marked_at))
    > (known.state = 'out', coalesce(known.until, known.marked_at))
"""

_CLEAR: Final = "delete from platform_key_marks where credential_id = $1 returning credential_id"


class PostgresPlatformMarks:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def marks(self) -> tuple[PlatformMark, ...]:
        with database_errors():
            rows = await self._pool.fetch(_ALL)
        return tuple(map(_mark, rows))

    async def mark(self, marks: Sequence[PlatformMark]) -> None:
        rows = [
            (one.credential_id, one.service, one.state, one.until, one.reason, one.marked_at)
            for one in _one_each(marks)
        ]
        with database_errors():
            await self._pool.execute(_MARK, *map(list, zip(*rows, strict=True)))

    async def clear(self, credential_id: str) -> bool:
        with database_errors():
            return await self._pool.fetchval(_CLEAR, credential_id) is not None


def _one_each(marks: Iterable[PlatformMark]) -> list[PlatformMark]:
    """Return a key's strongest mark, by id: a statement meets a row once, and rows in the same order."""
    strongest: dict[str, PlatformMark] = {}
    for mark in marks:
        known = strongest.get(mark.credential_id, mark)
        strongest[mark.credential_id] = stronger(known, mark)
    return [strongest[credential_id] for credential_id in sorted(strongest)]


def _mark(row: asyncpg.Record) -> PlatformMark:
    return PlatformMark(
        row["credential_id"],
        KeyService(row["service"]),
        PlatformKeyState(row["state"]),
        row["until"],
        row["reason"],
        row["marked_at"],
    )
