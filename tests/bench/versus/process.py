"""Programs that this benchmark starts, and ends again with all that they started."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.bench.versus.cpu import tree
from tests.nursery import die_with_parent

_STOP_S: Final = 15


def inherited() -> dict[str, str]:
    """The environment without settings of ours and without anybody's keys."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LATCHKEY_") and not name.endswith(("_API_KEY", "_API_KEYS"))
    }


@asynccontextmanager
async def running(command: Sequence[str], log: Path, env: Mapping[str, str]) -> AsyncIterator[Process]:
    """A program whose output goes to `log`."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**inherited(), **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=die_with_parent,
        )
    try:
        yield process
    finally:
        await _end(process)


async def done(*command: str) -> str:
    """Run a program to its end; return what it said. Raises RuntimeError when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, env=inherited(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{said.decode()[-2000:]}")
    return said.decode().strip()


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
