"""A realm's database, backed up and restored as docs/operations.md says."""

import asyncio
from pathlib import Path

from infra.local.servers import postgres_program
from tests.realm import TestRealm


async def back_up(realm: TestRealm, file: Path) -> None:
    """Work may go on."""
    await _run("pg_dump", "--format=custom", f"--file={file}", realm.admin["LATCHKEY_POSTGRES_URL"])


async def restore(realm: TestRealm, file: Path) -> None:
    """Nobody may be connected."""
    url = realm.admin["LATCHKEY_POSTGRES_URL"]
    await _run("pg_restore", "--clean", "--if-exists", "--exit-on-error", f"--dbname={url}", str(file))


async def _run(program: str, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(postgres_program(program)), *words, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
