"""Tell which part of the platform is missing."""

import asyncio
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from services.api_edge.ports import Probe
from shared.kernel.errors import BusUnavailableError, PlatformError

_PROBE_S = 1.5
_READY_FRESH_S = 1.0
_MISSING_FRESH_S = 0.25


class PartState(StrEnum):
    """`unknown`: it can only be seen through a part that is missing itself."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"


class CheckReadiness:
    """Looks at every part at once, whoever asks: once a second, sooner again when something is missing."""

    def __init__(self, probes: Mapping[str, Probe], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._probes = probes
        self._clock = clock
        self._lock = asyncio.Lock()
        self._seen: dict[str, PartState] = {}
        self._fresh_until = 0.0

    async def __call__(self) -> Mapping[str, PartState]:
        async with self._lock:
            if self._clock() >= self._fresh_until:
                states = await asyncio.gather(*(_state(probe) for probe in self._probes.values()))
                self._seen = dict(zip(self._probes, states, strict=True))
                is_ready = all(state is PartState.OK for state in states)
                self._fresh_until = self._clock() + (_READY_FRESH_S if is_ready else _MISSING_FRESH_S)
            return self._seen


async def _state(probe: Probe) -> PartState:
    try:
        async with asyncio.timeout(_PROBE_S):
            return PartState.OK if await probe() else PartState.MISSING
    except BusUnavailableError:
        return PartState.UNKNOWN
    except (PlatformError, TimeoutError):
        return PartState.MISSING
