"""A service as a process: hardening, the event loop, signals."""

import asyncio
import ctypes
import resource
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Keep keys in memory out of core files and away from ptrace by other processes (prctl(2))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` until it returns; SIGTERM or SIGINT cancels it once: its `finally` blocks clean up."""
    uvloop.run(_until_signal(main))


async def _until_signal(main: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(main())
    loop = asyncio.get_running_loop()
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopping:
            raise
