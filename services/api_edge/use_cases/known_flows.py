"""The flows as they are kept, remembered for a moment: a run costs no query for them."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from services.api_edge.domain.flows import Flow, FlowChange, Flows
from services.api_edge.ports import FlowStore
from shared.kernel.errors import DatabaseUnavailableError, NotFoundError, PlatformError

_FRESH_S: Final = 1.0
"""So old may be what is remembered, from the moment that its reading began."""
_EARLY_S: Final = 0.5
"""From this age on it is read anew, while runs go on with it."""
_PATIENCE_S: Final = 1.0


class KnownFlows:
    """What is kept goes over what is shipped, by name. While Postgres is away the last known flows stay."""

    def __init__(
        self, store: FlowStore, shipped: Flows, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._shipped = shipped
        self._clock = clock
        self._known: Flows | None = None
        self._read_at = float("-inf")
        self._changes = 0
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self) -> Flows:
        """Raise DatabaseUnavailableError when they could not be read even once."""
        age_s = self._clock() - self._read_at
        if age_s > _EARLY_S:
            reading = self._begin_reading()
            if age_s > _FRESH_S:
                await _done(reading, _PATIENCE_S)
        if self._known is None:
            raise DatabaseUnavailableError("the flows are not known yet", service="postgres", retry_after_s=2)
        return self._known

    async def change(self, name: str, change: FlowChange, *, by: str) -> Flow:
        """Change a flow, here at once. Raises NotFoundError, DatabaseUnavailableError."""
        changed = await self._store.change(name, change, by=by)
        if changed is None:
            raise NotFoundError("no such flow")
        self._changes += 1
        self._read_at = float("-inf")
        if self._known is not None:
            self._known = self._known.with_all((changed,))
        return changed

    def _begin_reading(self) -> "asyncio.Task[None]":
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        began, changes = self._clock(), self._changes
        try:
            kept = await self._store.all()
        except PlatformError:
            return
        if changes == self._changes:  # else it may be older than what was changed meanwhile
            self._known, self._read_at = self._shipped.with_all(kept), began


async def _done(reading: "asyncio.Task[None]", timeout_s: float) -> None:
    """Wait for a reading that is others' too. Raises what is a defect of ours."""
    done, _ = await asyncio.wait({reading}, timeout=timeout_s)
    for task in done:
        task.result()
