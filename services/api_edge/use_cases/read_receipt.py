"""Read what a run used and cost."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from services.api_edge.domain.identity import Caller
from services.api_edge.ports import Billing, RunStore
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.billing import Receipt
from shared.kernel.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class RunReceipt:
    """`is_final`: the run is over and billing has seen it."""

    receipt: Receipt
    is_final: bool


class ReadReceipt:
    """`pauses_s`: how long to wait between looks for a run that billing has not seen yet."""

    def __init__(
        self,
        *,
        runs: RunStore,
        billing: Billing,
        waiting: WaitingRuns,
        pauses_s: tuple[float, ...],
    ) -> None:
        self._runs = runs
        self._billing = billing
        self._waiting = waiting
        self._pauses_s = pauses_s

    async def __call__(self, caller: Caller, run_id: UUID) -> RunReceipt:
        """Raise NotFoundError for a run that is not the caller's."""
        found = await self._look(caller, run_id)
        for pause_s in self._pauses_s:
            if found.is_final:
                break
            await asyncio.sleep(pause_s)
            found = await self._look(caller, run_id)
        return found

    async def _look(self, caller: Caller, run_id: UUID) -> RunReceipt:
        owner = await self._runs.owner(run_id)
        if owner is None or owner.user_id != caller.user_id:
            raise NotFoundError("no such run")
        receipt = await self._billing.receipt(caller.user_id, run_id)
        is_over = not (owner.goes_on or receipt.is_open or run_id in self._waiting)
        return RunReceipt(receipt, bool(receipt.attempts) and is_over)
