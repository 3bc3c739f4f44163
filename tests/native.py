"""The servers of a native stack in a home of its own, run as its users run it: by its command."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.bootstrap import Servers
from infra.local.home import Home
from infra.local.ports import ports
from infra.local.servers import servers


@asynccontextmanager
async def native_servers() -> AsyncIterator[Servers]:
    """RabbitMQ, OpenBao and Postgres on ports of their own; nothing of them stays."""
    async with native_home() as home:
        yield servers(home, ports(home, running=True))


@asynccontextmanager
async def native_home(*options: str, **settings: str) -> AsyncIterator[Home]:
    """A running stack with these settings; of servers only, unless `options` (of `infra.local up`) differ."""
    folder = Path(tempfile.mkdtemp(prefix="latchkey-test-"))
    try:
        await run_at(folder, "infra.local", "up", *(options or ("--servers-only",)), **settings)
        yield Home(folder)
    finally:
        await run_at(folder, "infra.local", "down")
        shutil.rmtree(folder)


async def run_at(folder: Path, module: str, *arguments: str, **settings: str) -> str:
    """Run one of the project's commands for this home; return what it told. Raises RuntimeError."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LATCHKEY_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module, *arguments),
        env={**env, **settings, "LATCHKEY_HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{told.decode()}")
    return told.decode()
