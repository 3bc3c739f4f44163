"""Requests about runs: holds for those on the platform's key, receipts and lists for all."""

from collections.abc import Sequence

from services.billing.handlers.parts import Parts
from services.billing.use_cases.authorize_runs import Answer, authorize_runs
from shared.contracts.billing import AuthorizeRun, GetReceipt, ListUsage, Receipt, RunAuthorized, UsagePage
from shared.kernel.names import API_EDGE, INFERENCE
from shared.runtime.batcher import Batcher
from shared.runtime.rpc import Route


class RunHandlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._authorizations = Batcher(self._authorize)

    def routes(self) -> list[Route]:
        return [
            Route(AuthorizeRun, self.on_authorize_run, (INFERENCE,)),
            Route(GetReceipt, self.on_get_receipt, (API_EDGE,)),
            Route(ListUsage, self.on_list_usage, (API_EDGE,)),
        ]

    async def on_authorize_run(self, request: AuthorizeRun) -> RunAuthorized:
        return await self._authorizations.submit(request)

    async def on_get_receipt(self, request: GetReceipt) -> Receipt:
        # What is held is looked at first: an attempt that is billed in between is among the attempts then.
        is_open = await self._parts.usage.is_open(request.user_id, request.run_id)
        attempts = await self._parts.usage.of_run(request.user_id, request.run_id)
        return Receipt(run_id=request.run_id, attempts=tuple(attempts), is_open=is_open)

    async def on_list_usage(self, request: ListUsage) -> UsagePage:
        return await self._parts.usage.page(request)

    async def _authorize(self, batch: Sequence[AuthorizeRun]) -> list[Answer]:
        parts = self._parts
        return await authorize_runs(
            batch, ledger=parts.ledger, prices=parts.prices, tariff=parts.tariff, now=parts.now()
        )
