"""Processes that are born with everything imported: a service is up at once, and again after a kill.

Each is what `python -m module` makes: a process with an id, an environment and a log of its own, which only
its signals end. `python -m tests.nursery` has them by fork; it is told of each in a line on its stdin, and
tells of births and deaths in lines on its stdout.
"""

import asyncio
import atexit
import ctypes
import importlib
import json
import os
import random
import runpy
import select
import signal
import sys
import traceback
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
_KNOWN: Final = (
    "services.api_edge.app",
    "services.billing.app",
    "services.inference.app",
    "services.key_vault.app",
    "infra.simulator.app",
)
_PR_SET_PDEATHSIG: Final = 1


class Child:
    """A process of a nursery."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        """Return its exit code; the negative number of the signal that ended it."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def ended(self, code: int) -> None:
        self.returncode = code
        self._ended.set()


class Nursery:
    """Made by `nursery`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._born: dict[str, asyncio.Future[Child]] = {}
        self._children: dict[int, Child] = {}
        self._count = 0

    async def bear(self, module: str, *words: str, env: Mapping[str, str], log: Path) -> Child:
        """Have `python -m module words`, with no other environment; what it says is appended to the log."""
        self._count += 1
        name = str(self._count)
        born: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._born[name] = born
        asked = {"name": name, "module": module, "words": words, "env": dict(env), "log": str(log)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        return await born

    async def listen(self) -> None:
        """Take what the nursery tells, for ever."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if (name := told.get("name")) is not None:
                child = self._children[told["pid"]] = Child(told["pid"])
                self._born.pop(name).set_result(child)
            else:
                self._children.pop(told["pid"]).ended(told["code"])


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """One for as long as the context lasts; whoever is left at its end is killed with it."""
    command = (sys.executable, "-m", __name__)
    preexec_fn = die_with_parent if sys.platform == "linux" else None
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=PIPE, stdout=PIPE, preexec_fn=preexec_fn
    )
    made = Nursery(process)
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        process.kill()
        await process.wait()
        await asyncio.gather(listening, return_exceptions=True)


def die_with_parent() -> None:
    """Nothing is left behind by tests that are killed themselves (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# --- in the nursery's own process ---------------------------------------------------------------------


def main() -> None:
    for module in _KNOWN:
        importlib.import_module(module)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    buffer = b""
    while True:
        ready, _, _ = select.select([0, reader], [], [])
        if reader in ready:
            os.read(reader, 4096)
            _bury()
        if 0 in ready:
            if not (data := os.read(0, 65_536)):
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                _bear(json.loads(line), (reader, writer))


def _bear(asked: Mapping[str, Any], ours: Sequence[int]) -> None:
    pid = os.fork()
    if pid:
        _tell({"name": asked["name"], "pid": pid})
        return
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in ours:
            os.close(descriptor)
        code = _live(asked)
    finally:
        os._exit(code)


def _live(asked: Mapping[str, Any]) -> int:
    if sys.platform == "linux":
        die_with_parent()
    _redirect(asked["log"])
    os.environ.clear()
    os.environ.update(asked["env"])
    random.seed()
    sys.argv = [asked["module"], *asked["words"]]
    try:
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - as Python itself would tell it
        traceback.print_exc()
        return 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for descriptor, target in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(descriptor, target)
    os.close(nothing)
    os.close(file)


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell({"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(what: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
