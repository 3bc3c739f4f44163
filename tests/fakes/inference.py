"""In-memory parts for inference, and a worker wired on them."""

# ruff: noqa: ARG002 - the ports' signatures

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.inference.domain.attempt import KeyUsed
from services.inference.ports import OpenedKey, Piece, ProviderCall, ResolvedKey
from services.inference.service import Inference, Parts
from services.inference.use_cases.limits import Limits
from shared.contracts.billing import AuthorizeRun
from shared.contracts.models import ListedModel
from shared.contracts.runs import RunEnded, RunProgress, RunRequested, RunStarted
from shared.contracts.usage import UsageRecorded
from shared.contracts.validation import ValidateKey
from shared.kernel.errors import PlatformError, SystemKeyExhaustedError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, KeySource, KeyVerdict
from shared.kernel.prices import Quote
from shared.kernel.secret import SecretText
from tests.fakes.inference_store import InMemoryAttemptStore

CANARY = "sk-canary-0123456789abcdef"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
QUICK = Limits(poll_s=0.01, stale_after_s=0.1, retry_pause_s=0.01, rpc_timeout_s=1, hold_pauses_s=(0.01,) * 4)


@dataclass
class InMemoryKeyResolver:
    """Hands out `keys` in order, without those excluded; then raises `refusal`. `most_at_once`: questions."""

    keys: list[ResolvedKey]
    refusal: PlatformError = field(default_factory=SystemKeyExhaustedError)
    asked: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    patience_s: list[float] = field(default_factory=list)
    delay_s: float = 0
    at_once: int = 0
    most_at_once: int = 0

    async def resolve(
        self, request: RunRequested, attempt: int, *, excluding: tuple[str, ...], timeout_s: float
    ) -> ResolvedKey:
        self.asked.append((attempt, excluding))
        self.patience_s.append(timeout_s)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.at_once -= 1
        for key in self.keys:
            if key.used.credential_id not in excluding:
                return key
        raise copy(self.refusal)


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
    """Plays the script of the credential called with, as the call `request_id`.

    Unless it `connects`, no request ever goes out.
    """

    def __init__(self) -> None:
        self.connects = True
        self.request_id: str | None = None
        self.scripts: dict[str, list[Step]] = {}
        self.calls: list[ProviderCall] = []

    async def complete(self, call: ProviderCall) -> Piece:
        async for piece in self.stream(call):
            return piece
        raise AssertionError("the script has no answer")

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Piece, None]:
        self.calls.append(call)
        if self.connects:
            call.on_sent()
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
