"""The `latchkey` command, in a process of its own, on a test's realm."""

import asyncio
import os
import sys
from typing import Final

from tests.realm import TestRealm

_COMMAND: Final = (sys.executable, "-m", "infra.cli")


async def latchkey(realm: TestRealm, *words: str, **more: str) -> tuple[int, str]:
    """Return its exit code and all that it said."""
    env = {"PATH": os.environ["PATH"], "LATCHKEY_HOME": str(realm.env_dir / "no-home"), **realm.admin, **more}
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        "--realm",
        realm.name,
        *words,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()
