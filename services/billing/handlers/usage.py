"""Usage events in, in batches: each is acknowledged when it is kept."""

import time
from collections.abc import Sequence

from services.billing.handlers.parts import Parts
from services.billing.ports import Entry, Usage
from services.billing.use_cases.record_usage import Verdict, record_usage
from shared.contracts.usage import UsageRecorded
from shared.kernel.isolation import past_refusals
from shared.kernel.names import INFERENCE
from shared.runtime.delivery import Delivery
from shared.runtime.logs import get_logger
from shared.runtime.postgres import until_back


class UsageHandler:
    """The events of `billing.usage`."""

    def __init__(self, parts: Parts, *, retry_s: float) -> None:
        self._parts = parts
        self._retry_s = retry_s

    async def on_batch(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        """Return when all that can be kept is; say of each other event why it never can be."""
        began = time.perf_counter()
        read = [_read(delivery) for delivery in deliveries]
        verdicts = await past_refusals(read, self._record)
        if any(isinstance(verdict, Entry) and verdict.charged for verdict in verdicts):
            self._parts.wake()
        _log(verdicts, began)
        return [verdict if isinstance(verdict, Exception) else None for verdict in verdicts]

    async def _record(self, batch: Sequence[Usage]) -> list[Verdict]:
        parts = self._parts
        return await until_back(
            lambda: record_usage(batch, ledger=parts.ledger, prices=parts.prices, tariff=parts.tariff),
            retry_s=self._retry_s,
            what="usage",
            events=len(batch),
        )


def _read(delivery: Delivery) -> Usage | Exception:
    event = delivery.read_or_refusal(UsageRecorded, senders=(INFERENCE,))
    return event if isinstance(event, Exception) else Usage(event, delivery.envelope.data)


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
