"""Key events over the bus: on exchange `keys` the other replicas, the workers and the audit stream hear."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.message import Message
from shared.kernel.errors import BusUnavailableError
from shared.kernel.ids import new_id
from shared.runtime.logs import get_logger

_WAIT_S: Final = 0.25
"""Of who changed something: normally the broker has confirmed long before."""
_RETRY_S: Final = 0.5
_TOLD_WITHIN_S: Final = 30.0
"""Afterwards no cache remembers what the event would end."""
_AGAIN_S: Final = (1.0, 4.0, 20.0)
"""Before a revocation is told once more, each time. A worker that was just connecting anew has not heard it,
and would let a call that is under way go on with the key until its end."""


class Publisher(Protocol):
    """What is needed of the bus."""

    def publish(self, message: Message, *, event_id: str | None = None) -> Awaitable[None]: ...


class BusKeyEvents:
    """See `KeyEvents`. An event is tried for half a minute, and then given up with a log line.

    A revocation is told several times, as one event: with one id.
    """

    def __init__(
        self,
        bus: Publisher,
        *,
        retry_s: float = _RETRY_S,
        told_within_s: float = _TOLD_WITHIN_S,
        again_s: Sequence[float] = _AGAIN_S,
    ) -> None:
        self._bus = bus
        self._retry_s = retry_s
        self._told_within_s = told_within_s
        self._again_s = again_s
        self._telling: set[asyncio.Task[None]] = set()
        self._telling_again: set[asyncio.Task[None]] = set()

    async def tell(self, event: KeyStored | KeyRevoked | ConsentChanged) -> None:
        task = asyncio.create_task(self._tell(event))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        await asyncio.wait({task}, timeout=_WAIT_S)

    async def finish(self, within_s: float = 1.0) -> None:
        """Wait for what is still being told for the first time; give up the rest."""
        if self._telling:
            await asyncio.wait(self._telling, timeout=within_s)
        for task in (*self._telling, *self._telling_again):
            task.cancel()

    async def _tell(self, event: Message) -> None:
        event_id = str(new_id())
        try:
            async with asyncio.timeout(self._told_within_s):
                while True:
                    if await self._told(event, event_id):
                        break
                    await asyncio.sleep(self._retry_s)
        except TimeoutError:
            get_logger().error("a key event was not told", type=event.event_type())
        if isinstance(event, KeyRevoked):
            again = asyncio.create_task(self._tell_again(event, event_id))
            self._telling_again.add(again)
            again.add_done_callback(self._telling_again.discard)

    async def _tell_again(self, event: Message, event_id: str) -> None:
        for pause_s in self._again_s:
            await asyncio.sleep(pause_s)
            await self._told(event, event_id)

    async def _told(self, event: Message, event_id: str) -> bool:
        try:
            await self._bus.publish(event, event_id=event_id)
        except BusUnavailableError:
            return False
        except Exception:  # noqa: BLE001 - what has changed stays so, told or not
            get_logger().exception("telling a key event failed", type=event.event_type())
            return False
        return True
