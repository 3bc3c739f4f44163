"""The usage log, counted for Prometheus: what is told to analysts, told to operators."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.inference.ports import UsageLog
from shared.contracts.runs import RunEnded
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeyPolicy, KeySource
from shared.runtime.metrics import BUCKETS_S

_NO_KEY: Final = "none"


class MeteredUsageLog:
    """See `UsageLog`. An attempt that is told again after a crash counts again."""

    def __init__(self, inner: UsageLog, registry: CollectorRegistry) -> None:
        self._inner = inner
        self._attempts = Counter(
            "latchkey_attempts",
            "Attempts at a provider that ended.",
            ("outcome", "key_source", "provider"),
            registry=registry,
        )
        self._seconds = Histogram(
            "latchkey_attempt_seconds",
            "In the queue, until the key was there (resolve), until the first piece, in all (total).",
            ("part",),
            registry=registry,
            buckets=BUCKETS_S,
        )
        self._fallbacks = Counter(
            "latchkey_fallbacks",
            "Attempts after the first of their run: another key took over.",
            ("key_source",),
            registry=registry,
        )
        self._would_refuse = Counter(
            "latchkey_would_be_refusals",
            "Attempts on a key that a policy, were it not only reported on, would have refused.",
            ("policy",),
            registry=registry,
        )
        self._tokens = Counter(
            "latchkey_tokens", "Tokens, as far as known.", ("kind", "key_source"), registry=registry
        )
        self._begin()

    async def record(self, usage: UsageRecorded) -> None:
        await self._inner.record(usage)
        source = usage.key_source or _NO_KEY
        self._attempts.labels(usage.outcome, source, usage.provider).inc()
        self._tokens.labels("prompt", source).inc(usage.tokens.prompt)
        self._tokens.labels("completion", source).inc(usage.tokens.completion)
        self._time(usage)
        if usage.attempt > 1:
            self._fallbacks.labels(source).inc()
        if usage.would_refuse_policy is not None:
            self._would_refuse.labels(usage.would_refuse_policy).inc()

    async def record_end(self, end: RunEnded) -> None:
        await self._inner.record_end(end)

    def _begin(self) -> None:
        """Attempts have too many kinds for it."""
        for source in (*KeySource, _NO_KEY):
            self._fallbacks.labels(source)
            self._tokens.labels("prompt", source)
            self._tokens.labels("completion", source)
        self._would_refuse.labels(KeyPolicy.USER_KEY_REQUIRED)  # the only one that refuses

    def _time(self, usage: UsageRecorded) -> None:
        parts = {
            "queue": usage.queue_ms,
            "resolve": usage.resolve_ms,
            "first_token": usage.first_token_ms,
            "total": usage.total_ms,
        }
        for part, took_ms in parts.items():
            if took_ms is not None:
                self._seconds.labels(part).observe(took_ms / 1000)
