"""Billing, the waiting edge and the usage log, over the bus."""

from typing import Final

from services.inference.use_cases.large_turns import LargeTurns
from shared.contracts.billing import AuthorizeRun, RunAuthorized
from shared.contracts.prices import FindPrice, PriceFound
from shared.contracts.runs import RunChunk, RunCompleted, RunEnded, RunProgress
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import BusUnavailableError
from shared.kernel.names import KeyService
from shared.kernel.prices import Quote
from shared.runtime.bus import Bus
from shared.runtime.rpc import RpcClient

_LARGE_CHARS: Final = 256 * 1024


class RpcRunAuthorizer:
    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc

    async def authorize(self, ask: AuthorizeRun, *, timeout_s: float) -> Quote | None:
        return (await self._rpc.call(ask, RunAuthorized, timeout_s=timeout_s)).quote


class RpcQuoteFinder:
    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc

    async def find(self, provider: KeyService, model: str, *, timeout_s: float) -> Quote | None:
        ask = FindPrice(provider=provider, model=model)
        return (await self._rpc.call(ask, PriceFound, timeout_s=timeout_s)).quote


class BusUsageLog:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def record(self, usage: UsageRecorded) -> None:
        await self._bus.publish(usage, event_id=str(usage.usage_id), subject=str(usage.run_id))

    async def record_end(self, end: RunEnded) -> None:
        await self._bus.publish(end, event_id=str(end.run_id), subject=str(end.run_id))


class BusAudience:
    """When the bus is away the edge knows by itself: it has lost its connection too, or sees the gap.

    What is large goes one at a time: until the socket has it, there are several copies of it.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._turns = LargeTurns(_LARGE_CHARS)

    async def tell(self, progress: RunProgress, reply_to: str) -> None:
        async with self._turns.turn(_chars(progress)):
            try:
                await self._bus.relay(progress, reply_to)
            except BusUnavailableError:
                return


def _chars(progress: RunProgress) -> int:
    if isinstance(progress, RunChunk):
        return sum(map(len, progress.chunks))
    return len(progress.response or "") if isinstance(progress, RunCompleted) else 0
