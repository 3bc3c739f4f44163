"""Runs over RabbitMQ: requests go out confirmed, progress comes back on this instance's reply queue."""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import UUID

from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.runs import (
    AttachRun,
    CancelRun,
    RunChunk,
    RunCompleted,
    RunFailed,
    RunProgress,
    RunRequested,
    RunStarted,
)
from shared.kernel.errors import PlatformError
from shared.kernel.names import INFERENCE
from shared.runtime.bus import Bus
from shared.runtime.delivery import Delivery
from shared.runtime.logs import get_logger
from shared.runtime.publisher import bus_unavailable

_KINDS: Final[dict[str, type[RunProgress]]] = {
    kind.event_type(): kind for kind in (RunStarted, RunChunk, RunCompleted, RunFailed)
}

_CANCEL_S: Final = 600.0
"""Longer than most runs, and than most brokers are away."""
_PAUSE_S: Final = 0.25
_PAUSE_MAX_S: Final = 5.0


class BusRuns:
    """Make it before the bus starts: it registers itself there."""

    def __init__(self, bus: Bus, waiting: WaitingRuns) -> None:
        self._bus = bus
        self._waiting = waiting
        self._cancelling: set[asyncio.Task[None]] = set()
        self._settling = asyncio.Event()
        bus.on_reply(self._on_progress)
        bus.on_lost.append(self._on_lost)

    @property
    def reply_to(self) -> str:
        return self._bus.reply_to

    @property
    def is_cut_off(self) -> bool:
        return not self._bus.connected

    async def request(self, run: RunRequested) -> None:
        await self._bus.publish(run, subject=str(run.run_id))

    def cancel(self, run_id: UUID) -> None:
        task = asyncio.create_task(self._cancel(run_id))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def attach(self, run_id: UUID, from_seq: int) -> None:
        attach = AttachRun(run_id=run_id, reply_to=self.reply_to, from_seq=from_seq)
        await self._bus.publish(attach, subject=str(run_id))

    async def settle(self) -> None:
        """Wait for the cancels that are on their way; try no more."""
        self._settling.set()
        await asyncio.gather(*self._cancelling)

    async def _cancel(self, run_id: UUID) -> None:
        """Tell the workers, who may still begin it when the bus is back: nobody waits for the answer."""
        give_up_at, pause_s = asyncio.get_running_loop().time() + _CANCEL_S, _PAUSE_S
        while not await self._is_told(CancelRun(run_id=run_id)):
            if self._settling.is_set() or asyncio.get_running_loop().time() > give_up_at:
                get_logger().warning("could not cancel a run", run_id=str(run_id))
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._settling.wait()
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _is_told(self, cancel: CancelRun) -> bool:
        try:
            await self._bus.publish(cancel, subject=str(cancel.run_id))
        except PlatformError:
            return False
        return True

    def _on_progress(self, delivery: Delivery) -> None:
        try:
            kind = _KINDS.get(delivery.envelope.type)
            if kind is not None:
                self._waiting.deliver(delivery.read(kind, senders=(INFERENCE,)))
        except PlatformError as error:
            get_logger().error("progress refused", code=error.code, reason=error.message)

    def _on_lost(self) -> None:
        self._waiting.fail_all(bus_unavailable)
