"""Statements about attempts, those of many runs in one transaction: one commit for all."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from shared.kernel.isolation import isolating
from shared.runtime.batcher import Batcher
from shared.runtime.postgres import Pool, database_errors


class _Change(NamedTuple):
    """`values`: the statement's, beginning with what tells the row: the run and the attempt's number."""

    usage_id: UUID
    values: tuple[object, ...]


class AttemptBatches:
    """One statement, which changes one row and returns its `usage_id`, or nothing."""

    def __init__(self, pool: Pool, statement: str) -> None:
        self._pool = pool
        self._statement = statement
        self._batcher = Batcher(partial(isolating, handle=self._in_one_transaction))

    async def change(self, usage_id: UUID, *values: object) -> bool:
        """Return whether a row was changed. Raises DatabaseUnavailableError."""
        return await self._batcher.submit(_Change(usage_id, values))

    async def _in_one_transaction(self, changes: Sequence[_Change]) -> list[bool]:
        """All workers lock rows in one order, so that none waits for another that waits for it."""
        ordered = sorted(changes, key=_row)
        with database_errors():
            async with self._pool.acquire() as connection:
                rows = await connection.fetchmany(self._statement, [change.values for change in ordered])
        changed = {row["usage_id"] for row in rows}
        return [_taken(changed, change.usage_id) for change in changes]


def _row(change: _Change) -> Any:
    return change.values[:2]


def _taken(changed: set[UUID], usage_id: UUID) -> bool:
    """Of two changes of one attempt, the first was it."""
    is_changed = usage_id in changed
    changed.discard(usage_id)
    return is_changed
