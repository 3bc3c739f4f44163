"""Messages in. RPCs answer; usage events are gathered into batches, and acknowledged when they are kept."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.billing.domain.tariff import Tariff
from services.billing.ports import Entry, LedgerStore, PriceBook, Usage, UsageStore
from services.billing.use_cases.authorize_runs import Answer, authorize_runs
from services.billing.use_cases.grant_credits import grant_credits
from services.billing.use_cases.record_usage import Verdict, record_usage
from services.billing.use_cases.show_usage import list_usage, show_receipt
from shared.contracts.billing import (
    AuthorizeRun,
    Balance,
    GetBalance,
    GetReceipt,
    Grant,
    GrantCredits,
    ListUsage,
    Receipt,
    RunAuthorized,
    UsagePage,
)
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import API_EDGE, INFERENCE
from shared.runtime.batcher import Batcher
from shared.runtime.delivery import Delivery
from shared.runtime.logs import get_logger
from shared.runtime.postgres import until_back
from shared.runtime.rpc import Route

BATCH_SIZE: Final = 500
_LINGER_MS = 10
_AT_ONCE = 2
_AUTHORIZATIONS = 128
_RPC_LINGER_MS = 1


@dataclass(frozen=True)
class Parts:
    """What the handlers work with. `wake` is called when there are new events to publish."""

    ledger: LedgerStore
    usage: UsageStore
    prices: PriceBook
    tariff: Tariff
    clock: Callable[[], datetime]
    wake: Callable[[], None]


class RpcHandlers:
    """The requests of `billing.rpc`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._authorizations = Batcher(
            self._authorize, size=_AUTHORIZATIONS, linger_ms=_RPC_LINGER_MS, at_once=_AT_ONCE
        )

    def routes(self) -> list[Route]:
        return [
            Route(AuthorizeRun, self.on_authorize_run, (INFERENCE,)),
            Route(GrantCredits, self.on_grant_credits, (API_EDGE,)),
            Route(GetBalance, self.on_get_balance, (API_EDGE,)),
            Route(GetReceipt, self.on_get_receipt, (API_EDGE,)),
            Route(ListUsage, self.on_list_usage, (API_EDGE,)),
        ]

    async def on_authorize_run(self, request: AuthorizeRun) -> RunAuthorized:
        answer = await self._authorizations.submit(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def on_grant_credits(self, request: GrantCredits) -> Grant:
        grant = await grant_credits(request, ledger=self._parts.ledger)
        self._parts.wake()
        return grant

    async def on_get_balance(self, request: GetBalance) -> Balance:
        return await self._parts.ledger.balance(request.user_id)

    async def on_get_receipt(self, request: GetReceipt) -> Receipt:
        return await show_receipt(request, usage=self._parts.usage)

    async def on_list_usage(self, request: ListUsage) -> UsagePage:
        return await list_usage(request, usage=self._parts.usage)

    async def _authorize(self, batch: Sequence[AuthorizeRun]) -> list[Answer]:
        parts = self._parts
        return await authorize_runs(
            batch, ledger=parts.ledger, prices=parts.prices, tariff=parts.tariff, now=parts.clock()
        )


class UsageHandler:
    """The events of `billing.usage`."""

    def __init__(self, parts: Parts, *, retry_s: float) -> None:
        self._parts = parts
        self._retry_s = retry_s
        self._batcher = Batcher(self._record, size=BATCH_SIZE, linger_ms=_LINGER_MS, at_once=_AT_ONCE)

    async def on_usage_recorded(self, delivery: Delivery) -> None:
        """Return when the event is kept; raise why it never can be."""
        event = delivery.read(UsageRecorded, senders=(INFERENCE,))
        verdict = await self._batcher.submit(Usage(event, delivery.envelope.data))
        if isinstance(verdict, Exception):
            raise verdict

    async def _record(self, batch: Sequence[Usage]) -> list[Verdict]:
        began = time.perf_counter()
        verdicts = await self._persist(batch)
        if any(isinstance(verdict, Entry) and verdict.charged for verdict in verdicts):
            self._parts.wake()
        _log(verdicts, began)
        return verdicts

    async def _persist(self, batch: Sequence[Usage]) -> list[Verdict]:
        parts = self._parts
        return await until_back(
            lambda: record_usage(batch, ledger=parts.ledger, prices=parts.prices, tariff=parts.tariff),
            retry_s=self._retry_s,
            what="usage",
            events=len(batch),
        )


def _log(verdicts: Sequence[Verdict], began: float) -> None:
    kept = [verdict for verdict in verdicts if isinstance(verdict, Entry)]
    refused = sum(isinstance(verdict, Exception) for verdict in verdicts)
    get_logger().info(
        "usage batch",
        events=len(verdicts),
        kept=len(kept),
        known=len(verdicts) - len(kept) - refused,
        refused=refused,
        charged_micros=sum(entry.settlement.charged_micros for entry in kept),
        receivable_micros=sum(entry.settlement.receivable_micros for entry in kept),
        ms=round((time.perf_counter() - began) * 1000, 1),
    )
