"""Services and the simulator as processes of their own."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_STOP_S: Final = 30
_PR_SET_PDEATHSIG: Final = 1


class Part:
    """One process. Its output goes to a file of its own, over all its lives."""

    def __init__(self, name: str, module: str, *words: str, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = (sys.executable, "-m", module, *words)
        self._env = {**_clean_environment(), **env}
        self._process: asyncio.subprocess.Process | None = None
        self._born_at = 0

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def log_of_this_life(self) -> str:
        return self.log.read_bytes()[self._born_at :].decode()

    async def start(self, **overrides: str) -> None:
        """Start it; `overrides` go on top of its environment, for this life."""
        with self.log.open("ab") as log:
            self._born_at = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**self._env, **overrides},
                cwd=ROOT,
                preexec_fn=_end_with_the_tests if sys.platform == "linux" else None,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit code. It is killed when it does not."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        try:
            return await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise TimeoutError(f"{self.name} did not end within {_STOP_S} s") from None


def _end_with_the_tests() -> None:
    """Nothing is left behind by tests that are killed themselves (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _clean_environment() -> dict[str, str]:
    """What a service inherits: nothing of ours, and no key of the developer's."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LATCHKEY_") and not name.endswith(("_API_KEY", "_API_KEYS"))
    }
