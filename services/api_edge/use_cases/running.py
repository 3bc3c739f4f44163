"""A run as whoever waits for it sees it: one asked for here and now, or a kept one."""

import asyncio
from collections.abc import Awaitable
from typing import Final, Protocol, TypeVar
from uuid import UUID

from services.api_edge.domain.errors import EdgeClosingError, NotHeardError
from services.api_edge.ports import RunBus
from shared.contracts.runs import RunChunk, RunCompleted
from shared.kernel.errors import (
    BusUnavailableError,
    PlatformError,
    ProviderTimeoutError,
    RunCancelledError,
)
from shared.kernel.names import API_EDGE, INFERENCE, KeySource

ResultT = TypeVar("ResultT")

START_GRACE_S: Final = 5.0
"""How much later than `start_by` the edge hears of the start: of a quiet run after a second. Within that, the
run of a worker that was lost is ended by another, mostly.
"""
RETRY_S: Final = 2.0


class Running(Protocol):
    """Close it at the end. Times are of the event loop's clock, in seconds."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def deadline(self) -> float: ...
    @property
    def key_source(self) -> KeySource | None: ...

    async def next(self) -> RunChunk | RunCompleted:
        """Return the next chunk, or the end.

        Raises the run's own error, ServiceUnavailableError when no worker started it in time,
        ProviderTimeoutError at the deadline, BusUnavailableError when its progress is lost or not heard;
        RunCancelledError once abandoned, and EdgeClosingError when its task is cancelled.
        """
        ...

    def abandon(self) -> None:
        """The client is gone."""
        ...

    def close(self) -> None: ...


def reached_deadline() -> ProviderTimeoutError:
    return ProviderTimeoutError("the run reached its deadline")


def not_taken(bus: RunBus) -> PlatformError:
    """Return what is said of a run that nobody has told of in time."""
    if bus.is_cut_off:
        return BusUnavailableError(retry_after_s=RETRY_S)
    return NotHeardError("no worker took the run in time", service=INFERENCE, retry_after_s=RETRY_S)


def client_gone() -> RunCancelledError:
    return RunCancelledError("the client went away")


async def in_time(work: Awaitable[ResultT], limit: float) -> ResultT:
    """Wait until a moment. Raises TimeoutError, and EdgeClosingError when the task is cancelled.

    The server ends what is open when its grace is over, and would answer 500 for us.
    """
    try:
        async with asyncio.timeout_at(limit):
            return await work
    except asyncio.CancelledError:
        raise EdgeClosingError("the edge is closing", service=API_EDGE, retry_after_s=RETRY_S) from None
