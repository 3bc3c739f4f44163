"""A worker's sign of life, by which the others tell a slow worker from a lost one."""

import time

from services.inference.ports import AttemptStore


class Heart:
    """`worker` is this process's own name, never used again by another."""

    def __init__(self, store: AttemptStore, worker: str) -> None:
        self.worker = worker
        self._store = store
        self._steady_since: float | None = None

    @property
    def steady_s(self) -> float:
        """For how many seconds it has beaten without a miss."""
        return 0.0 if self._steady_since is None else time.monotonic() - self._steady_since

    async def beat(self) -> None:
        """Raises DatabaseUnavailableError."""
        beaten = False
        try:
            await self._store.beat(self.worker)
            beaten = True
        finally:
            if not beaten:
                self._steady_since = None
        if self._steady_since is None:
            self._steady_since = time.monotonic()
