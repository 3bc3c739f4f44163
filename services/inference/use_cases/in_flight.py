"""The runs this worker has right now, and what stops them; also before it has them."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from services.inference.use_cases.revocations import Revocations
from services.inference.use_cases.run import Run, Stop
from shared.kernel.errors import ServiceUnavailableError
from shared.kernel.names import INFERENCE

_CANCELS_KEPT: Final = 10_000


class InFlight:
    """A run is here at most once: a second delivery of it waits for the first."""

    def __init__(self) -> None:
        self.revocations = Revocations()
        self._runs: dict[UUID, Run] = {}
        self._cancelled: OrderedDict[UUID, None] = OrderedDict()
        self._closing = False

    def __len__(self) -> int:
        return len(self._runs)

    def has(self, run_id: UUID) -> bool:
        return run_id in self._runs

    async def wait_for(self, run_id: UUID) -> None:
        """Return once no other delivery of this run is at work here."""
        while (run := self._runs.get(run_id)) is not None:
            await run.done.wait()

    async def wait_for_all(self) -> None:
        """Return once no run is left."""
        while self._runs:
            await next(iter(self._runs.values())).done.wait()

    @contextmanager
    def enter(self, run: Run) -> Iterator[None]:
        """Raise ServiceUnavailableError when this worker is closing: the run goes to another."""
        self.check_open()
        run_id = run.request.run_id
        if run_id in self._cancelled:
            run.stop(Stop.CANCELLED)
        self._runs[run_id] = run
        try:
            yield
        finally:
            del self._runs[run_id]
            run.over()

    def check_open(self) -> None:
        if self._closing:
            raise ServiceUnavailableError("this worker is closing", service=INFERENCE)

    def cancel(self, run_id: UUID) -> bool:
        """Stop a run; remembered in case the run comes later. Return whether it is here."""
        if (run := self._runs.get(run_id)) is not None:
            run.stop(Stop.CANCELLED)
            return True
        self._cancelled[run_id] = None
        if len(self._cancelled) > _CANCELS_KEPT:
            self._cancelled.popitem(last=False)
        return False

    async def attach(self, run_id: UUID, reply_to: str, from_seq: int) -> None:
        """Tell another edge of a run, if it is here."""
        if (run := self._runs.get(run_id)) is not None:
            await run.progress.attach(reply_to, from_seq)

    def revoke(self, credential_id: str) -> int:
        """Stop the runs that use this key, and refuse it from now on; return how many were stopped.

        No longer search than the worker has runs at once, and nothing for a run to keep up.
        """
        self.revocations.add(credential_id)
        using = [run for run in self._runs.values() if run.credential_id == credential_id]
        for run in using:
            run.stop(Stop.REVOKED)
        return len(using)

    def close(self) -> None:
        """Take no more runs."""
        self._closing = True

    def interrupt(self) -> None:
        """Stop what still runs."""
        for run in self._runs.values():
            run.stop(Stop.SHUTDOWN)
