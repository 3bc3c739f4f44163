"""Services and the simulator as processes of their own."""

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.nursery import Child, Nursery
from tests.processes import clean_environment
from tests.waiting import until

_STOP_S: Final = 30
_READY_S: Final = 30


class Part:
    """One process. Its output goes to a file of its own, over all its lives."""

    def __init__(
        self, nursery: Nursery, name: str, module: str, *words: str, env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._nursery = nursery
        self._command = (module, *words)
        self._env = {**clean_environment(), **env}
        self._process: Child | None = None
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

    async def until_ready(self) -> None:
        """Wait for the line of its log that says so. Raises AssertionError when it has ended before."""
        await until(self._is_ready, _READY_S)

    def _is_ready(self) -> bool:
        assert self.is_running, self.log_of_this_life()
        return '"event":"ready"' in self.log_of_this_life()

    async def start(self, **overrides: str) -> None:
        """Start it; `overrides` go on top of its environment, for this life."""
        self.log.touch()  # who asks for it may be sooner than the process that writes it
        self._born_at = self.log.stat().st_size
        env = {**self._env, **overrides}
        self._process = await self._nursery.bear(*self._command, env=env, log=self.log)

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
        process.send_signal(number)
        try:
            return await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            await process.wait()
            raise TimeoutError(f"{self.name} did not end within {_STOP_S} s") from None
