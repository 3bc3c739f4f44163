"""Usage events in: gathered into batches, and acknowledged when they are kept."""

import time
from collections.abc import Sequence
from typing import Final

from services.billing.handlers.parts import Parts
from services.billing.ports import Entry, Usage
from services.billing.use_cases.record_usage import Verdict, record_usage
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import INFERENCE
from shared.runtime.batcher import Batcher
from shared.runtime.delivery import Delivery
from shared.runtime.logs import get_logger
from shared.runtime.postgres import until_back

BATCH_SIZE: Final = 500
_LINGER_MS: Final = 10
_AT_ONCE: Final = 2


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
