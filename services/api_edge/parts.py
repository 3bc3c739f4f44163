"""What the edge's application is made of: its ports, and what an operator may set."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from services.api_edge.domain.model_list import ModelInfo
from services.api_edge.domain.run_times import RunTimes
from services.api_edge.domain.sizes import ANY_SIZE, Sizes
from services.api_edge.ports import (
    Billing,
    CouncilStore,
    FlowStore,
    KeyAdministration,
    KeyValidator,
    KeyVault,
    PreferenceStore,
    PriceAdministration,
    Probe,
    RateLimiter,
    RunBus,
    RunStore,
    Sealer,
    TokenStore,
    TokenVerifier,
)
from services.api_edge.routes.middleware import Note
from services.api_edge.use_cases.model_list import AskModels
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.runtime.tracing import OFF, Tracing


@dataclass(frozen=True)
class EdgePorts:
    """The world, as the edge meets it. `bus` delivers progress to `waiting`."""

    runs: RunStore
    councils: CouncilStore
    flows: FlowStore
    tokens: TokenStore
    jwt: TokenVerifier
    sealer: Sealer
    bus: RunBus
    waiting: WaitingRuns
    key_vault: KeyVault
    administration: KeyAdministration
    validator: KeyValidator
    billing: Billing
    prices: PriceAdministration
    rates: RateLimiter
    preferences: PreferenceStore
    ask_models: AskModels
    priced_models: Callable[[], tuple[ModelInfo, ...]]
    queued_runs: Callable[[], Awaitable[int]]
    """How many runs wait for a worker. Raises `bus_unavailable`."""
    probes: Mapping[str, Probe]
    note_request: Note = lambda *_: None
    tracing: Tracing = OFF


@dataclass(frozen=True)
class EdgeRules:
    """What an operator may set. `is_open`: no token is needed. `receipt_pauses_s`: see ReadReceipt."""

    times: RunTimes
    body_bytes_max: int
    settings_url: str
    cors_origins: tuple[str, ...] = ()
    is_open: bool = False
    runs_at_once_max: int = 0
    hearings_at_once_max: int = 0
    sizes: Sizes = ANY_SIZE
    queue_runs_max: int = 1000
    receipt_pauses_s: tuple[float, ...] = (0.05, 0.1, 0.2, 0.35, 0.5, 0.8)
