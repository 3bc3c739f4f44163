"""The edge's whole application over its ports in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import httpx2
from starlette.types import ASGIApp

from services.api_edge.adapters.genai_models import priced_models
from services.api_edge.api import create_api, shipped_flows
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.run_times import RunTimes
from services.api_edge.domain.sizes import ANY_SIZE, Sizes
from services.api_edge.parts import EdgePorts, EdgeRules
from services.api_edge.ports import Probe
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.models import ListedModel
from shared.kernel.names import Role
from tests.fakes.api_edge_billing import InMemoryBilling
from tests.fakes.api_edge_councils import InMemoryCouncilStore
from tests.fakes.api_edge_keys import InMemoryKeyAdministration, InMemoryKeyValidator, InMemoryKeyVault
from tests.fakes.api_edge_prices import InMemoryPriceAdministration
from tests.fakes.api_edge_runs import InMemoryRunStore
from tests.fakes.api_edge_stores import (
    InMemoryFlowStore,
    InMemoryPreferenceStore,
    InMemoryRateLimiter,
    InMemorySealer,
    InMemoryTokenStore,
    InMemoryTokenVerifier,
)
from tests.fakes.api_edge_worker import InMemoryRunBus

ALICE = Caller("alice", Role.USER)
BOB = Caller("bob", Role.USER)
ADMIN = Caller("root", Role.ADMIN)


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
