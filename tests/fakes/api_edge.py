"""The edge's ports in memory, and the whole application over them."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from uuid import UUID

import httpx2
import orjson
from starlette.types import ASGIApp

from services.api_edge.api import EdgePorts, EdgeRules, create_api, shipped_flows
from services.api_edge.domain.flows import Flow, FlowChange
from services.api_edge.domain.identity import Caller
from services.api_edge.ports import Probe, RunRecord
from services.api_edge.use_cases.start_run import RunTimes
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.message import Envelope
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import KeyUse, RunChunk, RunCompleted, RunFailed, RunRequested, RunStarted
from shared.contracts.sealed import SealBinding, SealedKey
from shared.kernel.errors import (
    PlatformError,
    UnauthenticatedError,
    VaultUnavailableError,
)
from shared.kernel.names import KeyService, KeySource, Outcome, Role
from shared.kernel.secret import SecretText
from tests.fakes.api_edge_billing import NOON, InMemoryBilling
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
        self.error: PlatformError | None = None

    async def add(self, run: RunRecord) -> None:
        if self.error:
            raise self.error
        self.runs[run.run_id] = run

    async def owner(self, run_id: UUID) -> str | None:
        if self.error:
            raise self.error
        run = self.runs.get(run_id)
        return run.user_id if run else None


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
    """A worker's voice: numbers its messages."""

    def __init__(self, waiting: WaitingRuns, run: RunRequested) -> None:
        self.run = run
        self.seq = 0
        self._waiting = waiting

    def started(self, source: KeySource = KeySource.USER) -> None:
        self._waiting.deliver(
            RunStarted(run_id=self.run.run_id, seq=self._next(), attempt=1, key_source=source)
        )

    def chunk(self, *texts: str) -> None:
        self._waiting.deliver(RunChunk(run_id=self.run.run_id, seq=self._next(), chunks=texts))

    def completed(
        self, response: str | None = None, source: KeySource = KeySource.USER, uses: tuple[KeyUse, ...] = ()
    ) -> None:
        self._waiting.deliver(
            RunCompleted(
                run_id=self.run.run_id,
                seq=self._next(),
                key_source=source,
                response=response,
                key_uses=uses,
            )
        )

    def failed(self, error: PlatformError, source: KeySource | None = None) -> None:
        self._waiting.deliver(
            RunFailed(run_id=self.run.run_id, seq=self._next(), error=ErrorBody.of(error), key_source=source)
        )

    def _next(self) -> int:
        self.seq += 1
        return self.seq - 1


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
    """`worker` takes every run. `error` makes requests fail."""

    reply_to = "reply.api_edge.test"

    def __init__(self, waiting: WaitingRuns) -> None:
        self.waiting = waiting
        self.worker: Worker = answers
        self.error: PlatformError | None = None
        self.requested: list[RunRequested] = []
        self.cancelled: list[UUID] = []
        self._working: set[asyncio.Future[None]] = set()

    async def request(self, run: RunRequested) -> None:
        if self.error:
            raise self.error
        Envelope.wrap(run, source="api_edge").encode()  # what cannot travel fails here as on the real bus
        self.requested.append(run)
        task = asyncio.ensure_future(self.worker(Tell(self.waiting, run)))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    def cancel(self, run_id: UUID) -> None:
        self.cancelled.append(run_id)


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

    def __post_init__(self) -> None:
        self.waiting = WaitingRuns(self.runs_max)
        self.runs = InMemoryRunStore()
        self.flows = InMemoryFlowStore(*shipped_flows())
        self.tokens = InMemoryTokenStore()
        self.sealer = InMemorySealer()
        self.bus = InMemoryRunBus(self.waiting)
        self.key_vault = InMemoryKeyVault()
        self.administration = InMemoryKeyAdministration(self.key_vault)
        self.validator = InMemoryKeyValidator()
        self.billing = InMemoryBilling()
        self.prices = InMemoryPriceAdministration()
        parts = ("rabbitmq", "vault", "postgres", "key_vault", "inference", "billing")
        self.probes: dict[str, Probe] = dict.fromkeys(parts, is_there)
        for name, caller in {"alice": ALICE, "bob": BOB, "admin": ADMIN}.items():
            self.tokens.put(f"lk_{name}", caller)

    @cached_property
    def app(self) -> ASGIApp:
        return create_api(
            EdgePorts(
                runs=self.runs,
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
                probes=self.probes,
            ),
            EdgeRules(
                times=self.times,
                body_bytes_max=self.body_bytes_max,
                settings_url="https://app.example/settings",
                cors_origins=self.cors_origins,
                is_open=self.is_open,
                receipt_pauses_s=(0.01, 0.01),
            ),
        )

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
