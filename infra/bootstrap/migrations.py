"""Numbered SQL per service, applied once, in order, each in a transaction of its own."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from infra.bootstrap.realm import BootstrapError

SERVICES_FOLDER = Path(__file__).parents[2] / "services"
_FILE = re.compile(r"\d{4}_[a-z0-9_]+")
_ROLE = re.compile(r"(?<!:):service_role\b")

Connection: TypeAlias = "asyncpg.Connection[Any]"


@dataclass(frozen=True)
class Migration:
    """One file. `version` is its name without the ending."""

    version: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def for_role(self, role: str) -> str:
        return _ROLE.sub(f'"{role}"', self.sql)


def migrations_in(folder: Path) -> list[Migration]:
    """Return a folder's migrations in order. Raises BootstrapError for a name that is not NNNN_words.sql."""
    files = sorted(folder.glob("*.sql"))
    for file in files:
        if not _FILE.fullmatch(file.stem):
            raise BootstrapError(f"{file.name} is not named NNNN_words.sql")
    return [Migration(file.stem, file.read_text()) for file in files]


async def migrate(
    database: Connection, service: str, schema: str, *, role: str, folder: Path = SERVICES_FOLDER
) -> None:
    """Bring a service's schema up to its latest migration.

    Raises BootstrapError when an applied file has changed, or a statement fails.
    """
    applied = await _applied(database, schema)
    for migration in migrations_in(folder / service / "migrations"):
        recorded = applied.get(migration.version)
        if recorded is None:
            await _apply(database, schema, migration, role=role)
        elif recorded != migration.checksum:
            raise BootstrapError(f"{service}: migration {migration.version} was changed after it was applied")


async def _applied(database: Connection, schema: str) -> dict[str, str]:
    await database.execute(f"""
        CREATE TABLE IF NOT EXISTS "{schema}".schema_migrations (
            version text PRIMARY KEY,
            checksum text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    rows = await database.fetch(f'SELECT version, checksum FROM "{schema}".schema_migrations')  # noqa: S608
    return {row["version"]: row["checksum"] for row in rows}


async def _apply(database: Connection, schema: str, migration: Migration, *, role: str) -> None:
    try:
        async with database.transaction():
            await database.execute(f'SET LOCAL search_path = "{schema}"')
            await database.execute(migration.for_role(role))
            await database.execute(
                f'INSERT INTO "{schema}".schema_migrations (version, checksum) VALUES ($1, $2)',  # noqa: S608
                migration.version,
                migration.checksum,
            )
    except asyncpg.PostgresError as error:
        raise BootstrapError(f"{schema}: migration {migration.version} failed: {error}") from error
