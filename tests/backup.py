"""A realm's database, backed up and restored as docs/operations.md says."""

import asyncio
from pathlib import Path

from infra.local.servers import postgres_program
from tests.realm import TestRealm


async def back_up(realm: TestRealm, file: Path) -> None:
    """Work may go on."""
    await _run("pg_dump", "--format=custom", f"--file={file}", realm.admin["LATCHKEY_POSTGRES_URL"])


async def restore(realm: TestRealm, file: Path) -> None:
    """All of it or nothing, also over a database that is newer. Nobody may be connected."""
    sql = file.with_suffix(".sql")
    await _run("pg_restore", f"--file={sql}", str(file))
    drop = "DROP SCHEMA IF EXISTS edge, key_vault, inference, billing CASCADE"
    flags = ("--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--command={drop}", f"--file={sql}")
    await _run("psql", *flags, realm.admin["LATCHKEY_POSTGRES_URL"])


async def _run(program: str, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(postgres_program(program)),
        *words,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
