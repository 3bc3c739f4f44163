"""The edge's flows."""

from typing import Any

from services.api_edge.adapters.postgres import Database
from services.api_edge.domain.flows import Flow, FlowChange
from shared.kernel.names import KeyPolicy
from shared.runtime.postgres import database_errors

_COLUMNS = "task_name, policy, default_model, description, report_only, updated_at"
# What is there stays as administrators left it.
_SEED = """
INSERT INTO flows (task_name, policy, default_model, description, report_only)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[])
ON CONFLICT (task_name) DO NOTHING
"""
_ALL = f'SELECT {_COLUMNS} FROM flows ORDER BY task_name COLLATE "C"'  # noqa: S608 - columns of ours
# Nulls leave as it is.
_CHANGE = f"""
UPDATE flows
SET policy = coalesce($2, policy), default_model = coalesce($3, default_model),
    description = coalesce($4, description), report_only = coalesce($5, report_only),
    updated_at = clock_timestamp(), updated_by = $6
WHERE task_name = $1
RETURNING {_COLUMNS}
"""  # noqa: S608 - columns of ours


class PostgresFlowStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def seed(self, flows: tuple[Flow, ...]) -> None:
        rows = ((f.name, f.policy.value, f.default_model, f.description, f.report_only) for f in flows)
        columns = zip(*rows, strict=True)
        with database_errors():
            await self._database.pool().execute(_SEED, *columns)

    async def all(self) -> tuple[Flow, ...]:
        with database_errors():
            rows = await self._database.pool().fetch(_ALL)
        return tuple(_flow(row) for row in rows)

    async def change(self, name: str, change: FlowChange, *, by: str) -> Flow | None:
        values = (change.policy, change.default_model, change.description, change.report_only)
        with database_errors():
            row = await self._database.pool().fetchrow(_CHANGE, name, *values, by)
        return None if row is None else _flow(row)


def _flow(row: Any) -> Flow:
    return Flow(
        name=row["task_name"],
        policy=KeyPolicy(row["policy"]),
        default_model=row["default_model"],
        description=row["description"],
        report_only=row["report_only"],
        updated_at=row["updated_at"],
    )
