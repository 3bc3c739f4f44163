"""The ledger, counted and timed for Prometheus."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.billing.domain.hold import Admission, Hold
from services.billing.ports import Entry, LedgerStore, Settle, Usage
from shared.kernel.errors import ConflictError, InsufficientCreditsError
from shared.runtime.metrics import BUCKETS_S

_HELD: Final = "held"


class MeteredLedger:
    """See `LedgerStore`. What fails is not counted."""

    def __init__(self, inner: LedgerStore, registry: CollectorRegistry) -> None:
        self._inner = inner
        self._seconds = Histogram(
            "latchkey_ledger_seconds",
            "One transaction: taking holds (hold) or settling a batch of usage (settle).",
            ("work",),
            registry=registry,
            buckets=BUCKETS_S,
        )
        self._holds = Counter("latchkey_holds", "Holds, by answer.", ("answer",), registry=registry)
        for answer in (_HELD, InsufficientCreditsError.code, ConflictError.code):
            self._holds.labels(answer)
        self._usage = Counter(
            "latchkey_usage_events",
            "Usage events recorded, by outcome and key source.",
            ("outcome", "key_source"),
            registry=registry,
        )
        self._charged = Counter(
            "latchkey_charged_credit_micros", "What platform runs were charged.", registry=registry
        )
        self._owed = Counter(
            "latchkey_receivable_credit_micros", "What of it no hold covered any more.", registry=registry
        )
        self._expired = Counter("latchkey_holds_expired", "Holds nobody settled in time.", registry=registry)

    async def authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        async with self._timed("hold"):
            answers = await self._inner.authorize(holds)
        for admission in answers:
            self._holds.labels(_HELD if isinstance(admission, Hold) else admission.code).inc()
        return answers

    async def record(self, usages: Sequence[Usage], settle: Settle) -> list[Entry]:
        async with self._timed("settle"):
            entries = await self._inner.record(usages, settle)
        for entry in entries:
            event = entry.usage.event
            self._usage.labels(event.outcome, event.key_source or "none").inc()
            self._charged.inc(entry.settlement.charged_micros)
            self._owed.inc(entry.settlement.receivable_micros)
        return entries

    async def expire_holds(self, now: datetime) -> int:
        expired = await self._inner.expire_holds(now)
        self._expired.inc(expired)
        return expired

    @asynccontextmanager
    async def _timed(self, work: str) -> AsyncIterator[None]:
        began = time.perf_counter()
        yield
        self._seconds.labels(work).observe(time.perf_counter() - began)
