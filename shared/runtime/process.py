"""A service as a process: hardening, the event loop, signals."""

import asyncio
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from shared.runtime.settings import SettingsError

_PR_SET_DUMPABLE = 4
_GARBAGE_AFTER = 50_000
_FILES_ENOUGH = 65_536
_LEFTOVERS_S = 3.0


def harden() -> None:
    """Keep keys in memory out of core files and away from ptrace by other processes (prctl(2))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def allow_many_files() -> None:
    """Let the process have as many sockets open as its hard limit allows: each client is one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _FILES_ENOUGH if most == resource.RLIM_INFINITY else min(most, _FILES_ENOUGH)
    if now != resource.RLIM_INFINITY and now < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` until it returns; SIGTERM or SIGINT cancels it once: its `finally` blocks clean up.

    What libraries leave running then is cancelled, too; what does not heed that ends with the process. Wrong
    settings are a line on stderr and exit 1.
    """
    allow_many_files()
    spare_garbage_collection()
    try:
        uvloop.run(_until_signal(main))
    except SettingsError as error:
        sys.exit(f"settings: {error}")


def spare_garbage_collection() -> None:
    """Look for cyclic garbage less often: messages make objects by the ten thousand, and cycles hardly ever.

    What the modules have made so far stays, and is not looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_AFTER)


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
    code = 1
    try:
        await task
        code = 0
    except asyncio.CancelledError:
        if not stopping:
            raise
        code = 0
    finally:
        loop.call_later(_LEFTOVERS_S, _end, code)


def _end(code: int) -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
