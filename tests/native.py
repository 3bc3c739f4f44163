"""The servers of a native stack in a home of its own, run as its users run it: by its command."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from infra.bootstrap import Servers
from infra.local.home import Home
from infra.local.ports import ports
from infra.local.processes import processes
from infra.local.servers import servers

_POSTGRES: Final = "postgres"
_END_S: Final = 5.0
_LOOK_S: Final = 0.05


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
        await asyncio.to_thread(_end, Home(folder))
        shutil.rmtree(folder)


def _end(home: Home) -> None:
    """Kill all of it: nobody needs what it holds. Postgres is asked: killed, it would leave memory behind.

    The process manager was started first, and is killed first: it starts no other again.
    """
    deadline = time.monotonic() + _END_S
    while left := processes(home):
        for process in left:
            is_asked = process.part == _POSTGRES and time.monotonic() < deadline
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGQUIT if is_asked else signal.SIGKILL)
        time.sleep(_LOOK_S)


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
