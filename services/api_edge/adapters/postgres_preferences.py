"""Users' own choices."""

from collections.abc import Mapping
from typing import Any, Final

import asyncpg
import orjson

from services.api_edge.adapters.postgres import Database
from services.api_edge.domain.preferences import Preferences
from shared.runtime.postgres import database_errors

_FIND: Final = "SELECT model, parameters, model_set_at, pinned FROM preferences WHERE user_id = $1"
_SET_MODEL: Final = """
INSERT INTO preferences (user_id, model, parameters, model_set_at) VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (user_id) DO UPDATE
SET model = excluded.model, parameters = excluded.parameters, model_set_at = excluded.model_set_at
RETURNING model, parameters, model_set_at, pinned
"""
_FORGET_MODEL: Final = """
UPDATE preferences SET model = NULL, parameters = '{}', model_set_at = NULL WHERE user_id = $1
RETURNING model, parameters, model_set_at, pinned
"""
_PIN: Final = """
INSERT INTO preferences (user_id, pinned) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET pinned = excluded.pinned
RETURNING model, parameters, model_set_at, pinned
"""


class PostgresPreferenceStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, user_id: str) -> Preferences:
        return await self._row(_FIND, user_id)

    async def set_model(self, user_id: str, model: str, parameters: Mapping[str, Any]) -> Preferences:
        return await self._row(_SET_MODEL, user_id, model, orjson.dumps(dict(parameters)).decode())

    async def forget_model(self, user_id: str) -> Preferences:
        return await self._row(_FORGET_MODEL, user_id)

    async def pin(self, user_id: str, models: tuple[str, ...]) -> Preferences:
        return await self._row(_PIN, user_id, list(models))

    async def _row(self, statement: str, *values: object) -> Preferences:
        with database_errors():
            row = await self._database.pool().fetchrow(statement, *values)
        return Preferences() if row is None else _preferences(row)


def _preferences(row: "asyncpg.Record") -> Preferences:
    return Preferences(
        model=row["model"],
        parameters=orjson.loads(row["parameters"]),
        model_set_at=row["model_set_at"],
        pinned=tuple(row["pinned"]),
    )
