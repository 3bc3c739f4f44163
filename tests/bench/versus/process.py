"""Programs that this benchmark starts, and ends again with all that they started."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.bench.cpu import tree
from tests.nursery import die_with_parent
from tests.processes import clean_environment

_STOP_S: Final = 15


@asynccontextmanager
async def running(command: Sequence[str], log: Path, env: Mapping[str, str]) -> AsyncIterator[Process]:
    """A program whose output goes to `log`."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**clean_environment(), **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=die_with_parent,
        )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    family = tree(process.pid)
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _STOP_S)
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await process.wait()
