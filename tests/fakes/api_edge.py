"""The edge's ports in memory, and the whole application over them."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import httpx2
import orjson
from starlette.types import ASGIApp

from services.api_edge.adapters.genai_models import priced_models
from services.api_edge.api import create_api, shipped_flows
from services.api_edge.domain.allowance import Allowance, Limited
from services.api_edge.domain.errors import OverLimitError
from services.api_edge.domain.flows import Flow, FlowChange
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.preferences import Preferences
from services.api_edge.domain.runs import KeptRun, RunOwner, RunRecord
from services.api_edge.domain.sizes import ANY_SIZE, Sizes
from services.api_edge.parts import EdgePorts, EdgeRules
from services.api_edge.ports import Probe
from services.api_edge.use_cases.start_run import RunTimes
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.models import ListedModel
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import (
    KeyUse,
    RunChunk,
    RunCompleted,
    RunEnded,
    RunFailed,
    RunProgress,
    RunRequested,
    RunStarted,
    RunUsage,
)
from shared.contracts.sealed import SealBinding, SealedKey
from shared.kernel.errors import (
    PlatformError,
    RunCancelledError,
    UnauthenticatedError,
    VaultUnavailableError,
    WorkerLostError,
)
from shared.kernel.names import KeyService, KeySource, Outcome, Role
from shared.kernel.secret import SecretText
from tests.envelopes import event_body
from tests.fakes.api_edge_billing import NOON, InMemoryBilling
from tests.fakes.api_edge_councils import InMemoryCouncilStore
from tests.fakes.api_edge_keys import InMemoryKeyAdministration, InMemoryKeyValidator, InMemoryKeyVault
from tests.fakes.api_edge_prices import InMemoryPriceAdministration

ALICE = Caller("alice", Role.USER)
BOB = Caller("bob", Role.USER)
ADMIN = Caller("root", Role.ADMIN)
RESPONSE = '{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"created":1,"model":"gpt-4o-mini"}'  # noqa: E501


def chunk(text: str) -> str:
    """One OpenAI chunk as its JSON text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return orjson.dumps(body).decode()


class InMemoryRunStore:
    def __init__(self) -> None:
        self.runs: dict[UUID, RunRecord] = {}
        self.kept: dict[UUID, KeptRun] = {}
        self.error: PlatformError | None = None

    async def add(self, run: RunRecord) -> None:
        if self.error:
            raise self.error
        self.runs[run.run_id] = run

    async def owner(self, run_id: UUID) -> RunOwner | None:
        if self.error:
            raise self.error
        run, kept = self.runs.get(run_id), self.kept.get(run_id)
        return RunOwner(run.user_id, kept is not None and kept.outcome is None) if run else None

    async def keep(self, run: KeptRun, at_once_max: int = 0) -> KeptRun | None:
        if self.error:
            raise self.error
        going_on = self._going_on(run.record.user_id)
        if at_once_max:
            await asyncio.sleep(0)  # as in Postgres, what is kept meanwhile is not counted
        for other in self.kept.values():
            if other.record.run_id == run.record.run_id or (run.idempotency and _key(other) == _key(run)):
                return other
        if at_once_max and going_on >= at_once_max:
            raise OverLimitError
        self.kept[run.record.run_id] = run
        self.runs[run.record.run_id] = run.record
        return None

    async def free(self, run_id: UUID) -> None:
        if self.error:
            raise self.error
        run = replace(self.kept[run_id], idempotency=None)
        if run.outcome is None:
            run = replace(run, outcome=Outcome.CANCELLED, ended_at=datetime.now(UTC))
        self.kept[run_id] = run

    async def find(self, user_id: str, run_id: UUID) -> KeptRun | None:
        if self.error:
            raise self.error
        run = self.kept.get(run_id)
        return run if run and run.record.user_id == user_id else None

    async def end(self, ends: Sequence[RunEnded]) -> None:
        if self.error:
            raise self.error
        for end in ends:
            run = self.kept.get(end.run_id)
            if run is not None and run.outcome is None:
                self.kept[end.run_id] = replace(run, outcome=end.outcome, ended_at=end.ended_at, end=end)

    def _going_on(self, user_id: str) -> int:
        now, runs = datetime.now(UTC), self.kept.values()
        own = [run for run in runs if run.record.user_id == user_id and run.deadline > now]
        return sum(run.outcome is None for run in own)

    async def page(
        self, user_id: str, *, limit: int, before: UUID | None, session_id: str | None
    ) -> tuple[KeptRun, ...]:
        if self.error:
            raise self.error
        own = [
            replace(run, end=None)
            for run_id, run in sorted(self.kept.items(), reverse=True)
            if run.record.user_id == user_id
            and (before is None or run_id < before)
            and session_id in {None, run.session_id}
        ]
        return tuple(own[:limit])

    async def outcomes(self, user_id: str, run_ids: Sequence[UUID]) -> dict[UUID, Outcome | None]:
        if self.error:
            raise self.error
        own = [self.kept[run_id] for run_id in run_ids if run_id in self.kept]
        return {run.record.run_id: run.outcome for run in own if run.record.user_id == user_id}

    async def sweep(self, *, ended_before: datetime, lost_before: datetime) -> int:
        if self.error:
            raise self.error
        old = [run for run in self.kept.values() if run.end and run.end.ended_at < ended_before]
        lost = [run for run in self.kept.values() if run.outcome is None and run.deadline < lost_before]
        for run in old:
            self.kept[run.record.run_id] = replace(run, end=None)
        for run in lost:
            ended = replace(run, outcome=Outcome.INTERRUPTED, ended_at=run.deadline, end=lost_end(run))
            self.kept[run.record.run_id] = ended
        return len(old)


def _key(run: KeptRun) -> tuple[str, str | None]:
    return run.record.user_id, run.idempotency.key if run.idempotency else None


class InMemoryPreferenceStore:
    def __init__(self) -> None:
        self.kept: dict[str, Preferences] = {}
        self.found = 0

    async def find(self, user_id: str) -> Preferences:
        self.found += 1
        return self.kept.get(user_id, Preferences())

    async def set_model(self, user_id: str, model: str, parameters: Mapping[str, Any]) -> Preferences:
        kept = self.kept.get(user_id, Preferences())
        chosen = replace(kept, model=model, parameters=dict(parameters), model_set_at=NOON)
        self.kept[user_id] = chosen
        return chosen

    async def pin(self, user_id: str, models: tuple[str, ...]) -> Preferences:
        self.kept[user_id] = replace(self.kept.get(user_id, Preferences()), pinned=models)
        return self.kept[user_id]


class InMemoryRateLimiter:
    """`left`: how often each may still be done; there is no limit to the rest."""

    def __init__(self) -> None:
        self.left: dict[Limited, int] = {}

    async def hit(self, limited: Limited, user_id: str) -> Allowance | None:  # noqa: ARG002
        if limited not in self.left:
            return None
        allowance = Allowance(limited, 10, max(0, self.left[limited] - 1), 30.2, 60)
        if not self.left[limited]:
            raise OverLimitError(allowance)
        self.left[limited] -= 1
        return allowance


class InMemoryFlowStore:
    """`read`: how often it was read. `now`: when the next change is made."""

    def __init__(self, *flows: Flow) -> None:
        self.flows = {flow.name: flow for flow in flows}
        self.changed_by: dict[str, str] = {}
        self.read = 0
        self.now = NOON
        self.error: PlatformError | None = None

    async def seed(self, flows: tuple[Flow, ...]) -> None:
        if self.error:
            raise self.error
        for flow in flows:
            self.flows.setdefault(flow.name, replace(flow, updated_at=self.now))

    async def all(self) -> tuple[Flow, ...]:
        self.read += 1
        if self.error:
            raise self.error
        return tuple(self.flows[name] for name in sorted(self.flows))

    async def change(self, name: str, change: FlowChange, *, by: str) -> Flow | None:
        if self.error:
            raise self.error
        if name not in self.flows:
            return None
        given = {field: value for field, value in asdict(change).items() if value is not None}
        self.flows[name] = replace(self.flows[name], **given, updated_at=self.now)
        self.changed_by[name] = by
        return self.flows[name]


class InMemoryTokenStore:
    def __init__(self) -> None:
        self.callers: dict[bytes, Caller] = {}
        self.looked = 0
        self.error: PlatformError | None = None

    def put(self, token: str, caller: Caller) -> None:
        self.callers[hashlib.sha256(token.encode()).digest()] = caller

    def revoke(self, token: str) -> None:
        del self.callers[hashlib.sha256(token.encode()).digest()]

    async def find(self, token_sha256: bytes) -> Caller | None:
        self.looked += 1
        if self.error:
            raise self.error
        return self.callers.get(token_sha256)


class InMemoryTokenVerifier:
    """Takes `jwt-<user>` as a good JWT."""

    async def verify(self, token: str) -> Caller:
        kind, _, user_id = token.partition("-")
        if kind != "jwt":
            raise UnauthenticatedError
        return Caller(user_id, Role.USER)


class InMemorySealer:
    """Remembers what it sealed, so that a test can look inside."""

    def __init__(self) -> None:
        self.sealed: list[tuple[SecretText, SealBinding]] = []
        self.has_key = True

    def seal(self, secret: SecretText, binding: SealBinding) -> SealedKey:
        if not self.has_key:
            raise VaultUnavailableError(service="vault", retry_after_s=2)
        self.sealed.append((secret, binding))
        ciphertext = b64encode(hashlib.sha256(secret.reveal().encode()).digest()).decode()
        return SealedKey(ciphertext=ciphertext, expires_at=binding.expires_at)


class Tell:
    """A worker's voice: numbers its messages, and remembers them."""

    def __init__(self, waiting: WaitingRuns, run: RunRequested) -> None:
        self.run = run
        self.told: list[RunProgress] = []
        self._waiting = waiting
        self._chunks = 0

    @property
    def seq(self) -> int:
        return len(self.told)

    def started(self, source: KeySource = KeySource.USER) -> None:
        self._tell(RunStarted(run_id=self.run.run_id, seq=self.seq, attempt=1, key_source=source))

    def chunk(self, *texts: str) -> None:
        self._tell(RunChunk(run_id=self.run.run_id, seq=self.seq, chunks=texts, index=self._chunks))
        self._chunks += len(texts)

    def completed(
        self,
        response: str | None = None,
        source: KeySource = KeySource.USER,
        uses: tuple[KeyUse, ...] = (),
        usage: RunUsage | None = None,
    ) -> None:
        self._tell(
            RunCompleted(
                run_id=self.run.run_id,
                seq=self.seq,
                key_source=source,
                response=response,
                key_uses=uses,
                usage=usage,
            )
        )

    def failed(self, error: PlatformError, source: KeySource | None = None) -> None:
        self._tell(
            RunFailed(run_id=self.run.run_id, seq=self.seq, error=ErrorBody.of(error), key_source=source)
        )

    def skip(self) -> None:
        """Lose the next message on the way."""
        self.told.append(RunChunk(run_id=self.run.run_id, seq=self.seq, chunks=(), index=self._chunks))

    def again(self, from_seq: int) -> None:
        """Tell what was told before."""
        for progress in self.told[from_seq:]:
            self._waiting.deliver(progress)

    def _tell(self, progress: RunProgress) -> None:
        self.told.append(progress)
        self._waiting.deliver(progress)


def the_end(tell: Tell) -> RunEnded:
    """What a worker publishes of a kept run that is over."""
    last = tell.told[-1]
    chunks = tuple(text for told in tell.told if isinstance(told, RunChunk) for text in told.chunks)
    completed = last if isinstance(last, RunCompleted) else None
    return RunEnded(
        run_id=tell.run.run_id,
        user_id=tell.run.user_id,
        outcome=Outcome.COMPLETED if completed else Outcome.FAILED,
        error=last.error if isinstance(last, RunFailed) else None,
        key_source=getattr(last, "key_source", None),
        response=completed.response if completed else None,
        chunks=chunks,
        key_uses=completed.key_uses if completed else (),
        usage=completed.usage if completed else None,
        ended_at=NOON,
    )


def lost_end(run: KeptRun) -> RunEnded:
    return RunEnded(
        run_id=run.record.run_id,
        user_id=run.record.user_id,
        outcome=Outcome.INTERRUPTED,
        error=ErrorBody.of(WorkerLostError("nobody told of the run's end in time")),
        ended_at=run.deadline,
    )


Worker = Callable[[Tell], Awaitable[None]]


def key_use(
    source: KeySource = KeySource.USER,
    *,
    attempt: int = 1,
    credential_id: str = "01939a2f-0000-7000-8000-0000000000c1",
    outcome: Outcome = Outcome.COMPLETED,
    error_code: str | None = None,
) -> KeyUse:
    return KeyUse(
        attempt=attempt,
        provider=KeyService.OPENAI,
        model="openai/gpt-4o-mini",
        key_source=source,
        credential_id=credential_id,
        outcome=outcome,
        error_code=error_code,
        timestamp=NOON,
    )


async def answers(tell: Tell) -> None:
    """The worker of most tests: all goes well."""
    tell.started()
    if tell.run.stream:
        tell.chunk(chunk("Hel"), chunk("lo"))
        tell.completed()
    else:
        tell.completed(RESPONSE)


async def is_silent(_tell: Tell) -> None:
    """A worker that never says anything."""


def fails(error: PlatformError, source: KeySource | None = None) -> Worker:
    async def worker(tell: Tell) -> None:
        tell.failed(error, source)

    return worker


class InMemoryRunBus:
    """`worker` takes every run but those that were cancelled before. `error` makes requests fail. What is
    kept ends in `store`.
    """

    reply_to = "reply.api_edge.test"

    def __init__(self, waiting: WaitingRuns, store: InMemoryRunStore | None = None) -> None:
        self.waiting = waiting
        self.store = store or InMemoryRunStore()
        self.worker: Worker = answers
        self.error: PlatformError | None = None
        self.requested: list[RunRequested] = []
        self.cancelled: list[UUID] = []
        self.attached: list[tuple[UUID, int]] = []
        self._telling: dict[UUID, Tell] = {}
        self._working: set[asyncio.Future[None]] = set()

    async def request(self, run: RunRequested) -> None:
        if self.error:
            raise self.error
        event_body(run, source="api_edge")  # what cannot travel fails here as on the real bus
        self.requested.append(run)
        task = asyncio.ensure_future(self._work(Tell(self.waiting, run)))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    def cancel(self, run_id: UUID) -> None:
        self.cancelled.append(run_id)

    async def attach(self, run_id: UUID, from_seq: int) -> None:
        if self.error:
            raise self.error
        self.attached.append((run_id, from_seq))
        if (tell := self._telling.get(run_id)) is not None:
            tell.again(from_seq)

    async def _work(self, tell: Tell) -> None:
        self._telling[tell.run.run_id] = tell
        if tell.run.run_id in self.cancelled:
            tell.failed(RunCancelledError())
        else:
            await self.worker(tell)
        if tell.run.kept and tell.told and isinstance(tell.told[-1], RunCompleted | RunFailed):
            await self.store.end([the_end(tell)])
        del self._telling[tell.run.run_id]


async def is_there() -> bool:
    return True


@dataclass
class Edge:
    """The edge on fakes. Tokens: `lk_alice`, `lk_bob`, `lk_admin`."""

    runs_max: int = 100
    times: RunTimes = field(default_factory=lambda: RunTimes(start_s=5, run_s=5))
    body_bytes_max: int = 64 * 1024
    cors_origins: tuple[str, ...] = ()
    is_open: bool = False
    runs_at_once_max: int = 0
    hearings_at_once_max: int = 0
    sizes: Sizes = ANY_SIZE
    queue_runs_max: int = 1000

    def __post_init__(self) -> None:
        self.waiting = WaitingRuns(self.runs_max)
        self.runs = InMemoryRunStore()
        self.councils = InMemoryCouncilStore()
        self.flows = InMemoryFlowStore(*shipped_flows())
        self.tokens = InMemoryTokenStore()
        self.sealer = InMemorySealer()
        self.bus = InMemoryRunBus(self.waiting, self.runs)
        self.key_vault = InMemoryKeyVault()
        self.administration = InMemoryKeyAdministration(self.key_vault)
        self.validator = InMemoryKeyValidator()
        self.billing = InMemoryBilling()
        self.prices = InMemoryPriceAdministration()
        self.rates = InMemoryRateLimiter()
        self.preferences = InMemoryPreferenceStore()
        self.listed: tuple[ListedModel, ...] = ()
        self.queued = 0
        parts = ("rabbitmq", "vault", "postgres", "key_vault", "inference", "billing")
        self.probes: dict[str, Probe] = dict.fromkeys(parts, is_there)
        for name, caller in {"alice": ALICE, "bob": BOB, "admin": ADMIN}.items():
            self.tokens.put(f"lk_{name}", caller)

    @cached_property
    def app(self) -> ASGIApp:
        return create_api(
            EdgePorts(
                runs=self.runs,
                councils=self.councils,
                flows=self.flows,
                tokens=self.tokens,
                jwt=InMemoryTokenVerifier(),
                sealer=self.sealer,
                bus=self.bus,
                waiting=self.waiting,
                key_vault=self.key_vault,
                administration=self.administration,
                validator=self.validator,
                billing=self.billing,
                prices=self.prices,
                rates=self.rates,
                preferences=self.preferences,
                ask_models=self._ask_models,
                priced_models=priced_models,
                queued_runs=self._queued,
                probes=self.probes,
            ),
            EdgeRules(
                times=self.times,
                body_bytes_max=self.body_bytes_max,
                settings_url="https://app.example/settings",
                cors_origins=self.cors_origins,
                is_open=self.is_open,
                runs_at_once_max=self.runs_at_once_max,
                hearings_at_once_max=self.hearings_at_once_max,
                sizes=self.sizes,
                queue_runs_max=self.queue_runs_max,
                receipt_pauses_s=(0.01, 0.01),
            ),
        )

    async def _ask_models(self) -> tuple[ListedModel, ...]:
        return self.listed

    async def _queued(self) -> int:
        return self.queued

    def client(
        self,
        token: str | None = "lk_alice",  # noqa: S107
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.AsyncClient:
        """A client of a user; None for nobody."""
        auth = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://edge",
            headers={**auth, **(headers or {})},
        )
