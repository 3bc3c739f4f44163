"""The command `latchkey`, as operators run it, beside the house."""

import asyncio
import os
import sys

from tests.acceptance.house import House


async def latchkey(house: House, *words: str) -> tuple[int, str]:
    """Return its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli", "--realm", house.realm.name, *words),
        env={
            "PATH": os.environ["PATH"],
            "LATCHKEY_HOME": str(house.realm.env_dir / "no-home"),
            **house.realm.admin,
            "LATCHKEY_URL": house.url,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()
