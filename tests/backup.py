"""A realm's database, backed up and restored as docs/operations.md says."""

import asyncio
from pathlib import Path

from infra.local.servers import postgres_program
from tests.realm import TestRealm


async def back_up(realm: TestRealm, file: Path) -> None:
    """Work may go on."""
    program = str(postgres_program("pg_dump"))
    await _run(program, "--format=custom", f"--file={file}", realm.admin["LATCHKEY_POSTGRES_URL"])


async def restore(realm: TestRealm, file: Path) -> None:
    """All of it or nothing, also over a database that is newer. Nobody may be connected."""
    psql = f"{postgres_program('psql')} --quiet --single-transaction --set=ON_ERROR_STOP=1"
    drop = "DROP SCHEMA IF EXISTS edge, key_vault, inference, billing CASCADE;"
    dump = f"{postgres_program('pg_restore')} --file=- {file}"
    url = realm.admin["LATCHKEY_POSTGRES_URL"]
    await _run("sh", "-c", f"{{ echo '{drop}'; {dump}; }} | {psql} '{url}'")


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
