"""In-memory parts for inference, and a worker wired on them."""

# ruff: noqa: ARG002 - the ports' signatures

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.inference.app import Inference, Parts
from services.inference.domain.attempt import Attempt, KeyUsed
from services.inference.ports import (
    AbandonedAttempt,
    OpenedKey,
    Piece,
    ProviderCall,
    ResolvedKey,
    RunKept,
    StoredAttempt,
)
from services.inference.use_cases.limits import Limits
from shared.contracts.billing import AuthorizeRun
from shared.contracts.models import ListedModel
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded, RunProgress, RunRequested, RunStarted
from shared.contracts.usage import UsageRecorded
from shared.contracts.validation import ValidateKey
from shared.kernel.errors import PlatformError, SystemKeyExhaustedError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, KeySource, KeyVerdict
from shared.kernel.prices import Quote
from shared.kernel.secret import SecretText

CANARY = "sk-canary-0123456789abcdef"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
QUICK = Limits(poll_s=0.01, stale_after_s=0.1, retry_pause_s=0.01, rpc_timeout_s=1, hold_pauses_s=(0.01,) * 4)


class InMemoryAttemptStore:
    """`away` makes every call raise, as when Postgres is; `refusal` the next `finish`; `lost_answer` too,
    but only once it is written. Workers that never beat are stale. It is the outbox as well.
    """

    def __init__(self) -> None:
        self.away: PlatformError | None = None
        self.refusal: Exception | None = None
        self.lost_answer: PlatformError | None = None
        self.rows: dict[tuple[UUID, int], StoredAttempt] = {}
        self.requests: dict[tuple[UUID, int], RunRequested] = {}
        self.published: set[UUID] = set()
        self.ends: dict[UUID, RunEnded] = {}
        self._in_hand: set[UUID] = set()
        self._seen: dict[str, datetime] = {}

    async def claim(self, attempt: Attempt, request: RunRequested) -> bool:
        self._called()
        place = (attempt.run_id, attempt.number)
        if (row := self.rows.get(place)) is not None:
            return row.attempt.usage_id == attempt.usage_id and row.usage is None
        kept = replace(attempt, resolve_ms=None, price=None)
        self.rows[place], self.requests[place] = StoredAttempt(kept, stale=False), request
        return True

    async def note_key(self, attempt: Attempt) -> bool:
        self._called()
        row = self.rows.get((attempt.run_id, attempt.number))
        if row is None or row.usage is not None:
            return False
        row.attempt.key = attempt.key
        return True

    async def finish(
        self, usage: UsageRecorded, error: ErrorBody | None, end: RunEnded | None = None
    ) -> bool:
        self._called()
        if (refusal := self.refusal) is not None:
            self.refusal = None
            raise refusal
        row = self.rows.get((usage.run_id, usage.attempt))
        if row is None or row.usage is not None:
            return row is not None and row.usage == usage
        self.rows[usage.run_id, usage.attempt] = replace(row, usage=usage, error=error)
        if end is not None:
            self.ends[end.run_id] = end
        if (lost := self.lost_answer) is not None:
            self.lost_answer = None
            raise lost
        return True

    async def attempts(self, run_id: UUID, *, stale_after_s: float) -> tuple[StoredAttempt, ...]:
        self._called()
        rows = sorted((place, row) for place, row in self.rows.items() if place[0] == run_id)
        return tuple(
            replace(
                row, attempt=replace(row.attempt), stale=self._is_stale(row.attempt.worker, stale_after_s)
            )
            for _, row in rows
        )

    async def abandoned(
        self, *, stale_after_s: float, overdue_s: float, limit: int
    ) -> tuple[AbandonedAttempt, ...]:
        self._called()
        overdue = datetime.now(UTC) - timedelta(seconds=overdue_s)
        found = [
            AbandonedAttempt(replace(row.attempt), _kept(self.requests[place]))
            for place, row in self.rows.items()
            if row.usage is None
            and self.requests[place].deadline < overdue
            and self._is_stale(row.attempt.worker, stale_after_s)
        ]
        return tuple(found[:limit])

    async def note_published(self, usage_ids: Sequence[UUID]) -> None:
        self._called()
        ended = {row.usage.usage_id for row in self.rows.values() if row.usage is not None}
        self.published |= (ended & set(usage_ids)) - self._in_hand

    async def relay(
        self, publish: Callable[[UsageRecorded], Awaitable[None]], *, ended_before_s: float, limit: int
    ) -> int:
        self._called()
        before = datetime.now(UTC) - timedelta(seconds=ended_before_s)
        usages = [row.usage for row in self.rows.values() if row.usage is not None]
        waiting = [
            usage
            for usage in sorted(usages, key=lambda usage: usage.finished_at)
            if usage.finished_at < before and usage.usage_id not in self.published | self._in_hand
        ][:limit]
        in_hand = {usage.usage_id for usage in waiting}
        self._in_hand |= in_hand
        try:
            failures = await asyncio.gather(*map(publish, waiting), return_exceptions=True)
        finally:
            self._in_hand -= in_hand
        for usage, failed in zip(waiting, failures, strict=True):
            if failed is None:
                self.published.add(usage.usage_id)
        for failed in failures:
            if failed is not None:
                raise failed
        return len(waiting)

    async def drop_ends(self, run_ids: Sequence[UUID]) -> None:
        self._called()
        for run_id in run_ids:
            self.ends.pop(run_id, None)

    async def relay_ends(
        self, publish: Callable[[RunEnded], Awaitable[None]], *, ended_before_s: float, limit: int
    ) -> int:
        self._called()
        before = datetime.now(UTC) - timedelta(seconds=ended_before_s)
        waiting = sorted(self.ends.values(), key=lambda end: end.ended_at)
        due = [end for end in waiting if end.ended_at < before][:limit]
        for end in due:
            await publish(end)
            del self.ends[end.run_id]
        return len(due)

    async def beat(self, worker: str) -> None:
        self._called()
        self._seen[worker] = datetime.now(UTC)

    def _is_stale(self, worker: str, stale_after_s: float) -> bool:
        seen = self._seen.get(worker)
        return seen is None or datetime.now(UTC) - seen > timedelta(seconds=stale_after_s)

    def _called(self) -> None:
        if self.away is not None:
            raise self.away


@dataclass
class InMemoryKeyResolver:
    """Hands out `keys` in order, without those excluded; then raises `refusal`. `most_at_once`: questions."""

    keys: list[ResolvedKey]
    refusal: PlatformError = field(default_factory=SystemKeyExhaustedError)
    asked: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    delay_s: float = 0
    at_once: int = 0
    most_at_once: int = 0

    async def resolve(
        self, request: RunRequested, attempt: int, *, excluding: tuple[str, ...], timeout_s: float
    ) -> ResolvedKey:
        self.asked.append((attempt, excluding))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.at_once -= 1
        for key in self.keys:
            if key.used.credential_id not in excluding:
                return key
        raise self.refusal


@dataclass
class InMemoryKeyOpener:
    """Opens every key as `key`, or raises `refusal`."""

    key: OpenedKey = field(default_factory=lambda: OpenedKey(KeyService.OPENAI, SecretText(CANARY)))
    refusal: PlatformError | None = None
    asked: list[ValidateKey] = field(default_factory=list)
    delay_s: float = 0

    async def open(self, ask: ValidateKey, *, timeout_s: float) -> OpenedKey:
        self.asked.append(ask)
        await asyncio.sleep(self.delay_s)
        if self.refusal is not None:
            raise self.refusal
        return self.key


@dataclass
class InMemoryKeyChecker:
    verdict: KeyVerdict = KeyVerdict.VALID
    refusal: PlatformError | None = None
    asked: list[tuple[OpenedKey, float]] = field(default_factory=list)

    async def check(self, key: OpenedKey, *, timeout_s: float) -> KeyVerdict:
        self.asked.append((key, timeout_s))
        if self.refusal is not None:
            raise self.refusal
        return self.verdict


@dataclass
class InMemoryModelLister:
    listed: tuple[ListedModel, ...] = ()

    async def models(self) -> tuple[ListedModel, ...]:
        return self.listed


@dataclass
class InMemoryRunAuthorizer:
    """Answers with `answers` in turn (None allows), then with `refusal`."""

    refusal: PlatformError | None = None
    answers: list[PlatformError | None] = field(default_factory=list)
    asked: list[AuthorizeRun] = field(default_factory=list)
    quote: Quote | None = None

    async def authorize(self, ask: AuthorizeRun, *, timeout_s: float) -> Quote | None:
        self.asked.append(ask)
        answer = self.answers.pop(0) if self.answers else self.refusal
        if answer is not None:
            raise answer
        return self.quote


@dataclass
class InMemoryQuoteFinder:
    """Answers with `quote` after `delay_s`, or raises `refusal`."""

    quote: Quote | None = None
    refusal: PlatformError | None = None
    delay_s: float = 0
    asked: list[tuple[KeyService, str]] = field(default_factory=list)

    async def find(self, provider: KeyService, model: str, *, timeout_s: float) -> Quote | None:
        self.asked.append((provider, model))
        await asyncio.sleep(self.delay_s)
        if self.refusal is not None:
            raise self.refusal
        return self.quote


Step = Piece | PlatformError | float
"""What a scripted provider does: sends a piece, fails, or waits some seconds."""


class InMemoryProvider:
    """Plays the script of the credential called with, as the call `request_id`."""

    def __init__(self) -> None:
        self.request_id: str | None = None
        self.scripts: dict[str, list[Step]] = {}
        self.calls: list[ProviderCall] = []

    async def complete(self, call: ProviderCall) -> Piece:
        async for piece in self.stream(call):
            return piece
        raise AssertionError("the script has no answer")

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Piece, None]:
        self.calls.append(call)
        if self.request_id is not None:
            call.on_request_id(self.request_id)
        for step in self.scripts[call.key.used.credential_id]:
            if isinstance(step, PlatformError):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step


@dataclass
class InMemoryUsageLog:
    away: PlatformError | None = None
    events: list[UsageRecorded] = field(default_factory=list)
    ends: list[RunEnded] = field(default_factory=list)

    async def record(self, usage: UsageRecorded) -> None:
        if self.away is not None:
            raise self.away
        self.events.append(usage)

    async def record_end(self, end: RunEnded) -> None:
        if self.away is not None:
            raise self.away
        self.ends.append(end)


@dataclass
class InMemoryAudience:
    """`told` to the first who listens; `to`: to everybody, by address. `start_takes_s`: a slow bus."""

    told: list[RunProgress] = field(default_factory=list)
    start_takes_s: float = 0
    to: dict[str, list[RunProgress]] = field(default_factory=dict)

    async def tell(self, progress: RunProgress, reply_to: str) -> None:
        if isinstance(progress, RunStarted):
            await asyncio.sleep(self.start_takes_s)
        self.to.setdefault(reply_to, []).append(progress)
        if reply_to == next(iter(self.to)):
            self.told.append(progress)

    def kinds(self) -> list[str]:
        return [type(progress).__name__ for progress in self.told]


class Worker:
    """One worker on in-memory parts; give two of them the same `store` and they share a database."""

    def __init__(
        self,
        keys: Iterable[ResolvedKey] = (),
        *,
        store: InMemoryAttemptStore | None = None,
        name: str = "worker-1",
        limits: Limits = QUICK,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = store or InMemoryAttemptStore()
        self.resolver = InMemoryKeyResolver(list(keys))
        self.opener = InMemoryKeyOpener()
        self.checker = InMemoryKeyChecker()
        self.lister = InMemoryModelLister()
        self.authorizer = InMemoryRunAuthorizer()
        self.quote_finder = InMemoryQuoteFinder()
        self.provider = InMemoryProvider()
        self.usage_log = InMemoryUsageLog()
        self.audience = InMemoryAudience()
        self.service = Inference(
            Parts(
                store=self.store,
                outbox=self.store,
                resolver=self.resolver,
                opener=self.opener,
                checker=self.checker,
                lister=self.lister,
                authorizer=self.authorizer,
                quote_finder=self.quote_finder,
                provider=self.provider,
                usage_log=self.usage_log,
                audience=self.audience,
                worker=name,
                limits=limits,
                now=now,
            )
        )
        self.run = self.service.run_inference
        self.in_flight = self.service.in_flight


def _kept(request: RunRequested) -> RunKept:
    return RunKept(
        user_id=request.user_id,
        flow=request.flow,
        policy=request.policy,
        provider=request.provider,
        model=request.model,
        stream=request.stream,
        requested_at=request.requested_at,
        kept=request.kept,
        session_id=request.session_id,
    )


def a_key(
    credential_id: str = "mine",
    source: KeySource = KeySource.USER,
    service: KeyService = KeyService.OPENAI,
    *,
    secret: str = CANARY,
    base_url: str | None = None,
) -> ResolvedKey:
    return ResolvedKey(SecretText(secret), KeyUsed(source, credential_id, service), base_url)


PLATFORM = KeySource.PLATFORM


def a_request(**changes: Any) -> RunRequested:
    now = datetime.now(UTC)
    given: dict[str, Any] = {
        "run_id": new_id(),
        "user_id": "ann",
        "flow": "chat",
        "policy": KeyPolicy.USER_KEY_PREFERRED,
        "provider": KeyService.OPENAI,
        "model": "openai/gpt-4o-mini",
        "stream": False,
        "body": {"messages": [{"role": "user", "content": "hello"}]},
        "reply_to": "reply.api_edge.test",
        "requested_at": now,
        "start_by": now + timedelta(seconds=5),
        "deadline": now + timedelta(seconds=10),
    }
    return RunRequested(**{**given, **changes})


def an_answer(usage: dict[str, Any] | None = USAGE) -> Piece:
    return Piece('{"choices":[]}', 20, usage)


def chunks(*texts: str, usage: dict[str, Any] | None = USAGE) -> list[Step]:
    sent: list[Step] = [Piece(text, len(text), None) for text in texts]
    return sent if usage is None else [*sent, Piece("usage", 0, usage)]
