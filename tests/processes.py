"""A service as a process of the test's own; its log is its stdout."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

_READY_S = 30.0


def clean_environment() -> dict[str, str]:
    """What a program of the tests inherits: nothing of ours, and no key of the developer's."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LATCHKEY_") and not name.endswith(("_API_KEY", "_API_KEYS"))
    }


@asynccontextmanager
async def service_process(service: str, env: Mapping[str, str]) -> AsyncIterator[Process]:
    """`python -m services.<service>.app`, with no setting but those of `env`; killed when it still runs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LATCHKEY_")}
    command = (sys.executable, "-m", f"services.{service}.app")
    process = await asyncio.create_subprocess_exec(
        *command, env={**inherited, **env}, stdout=PIPE, stderr=STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def core_limits(pid: int) -> list[str]:
    """How large a core file of this process may become, soft and hard: keys lie in its memory."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core file size"))


async def log_until_ready(process: Process) -> str:
    """Wait for the line that says so; return the log up to it."""
    assert process.stdout is not None
    log = ""
    async with asyncio.timeout(_READY_S):
        while '"event":"ready"' not in log:
            line = (await process.stdout.readline()).decode()
            assert line, log
            log += line
    return log


async def done(*command: str, timeout_s: float | None = None, **env: str) -> str:
    """Run a program to its end, with these settings; return what it said.

    Raises RuntimeError when it fails, TimeoutError when it takes longer than `timeout_s`.
    """
    process = await asyncio.create_subprocess_exec(
        *command, env={**clean_environment(), **env}, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), timeout_s)
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{said.decode()[-2000:]}")
    return said.decode().strip()
