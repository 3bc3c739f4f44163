"""The HTTP application over any set of ports: the real ones, or a test's."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.domain.flows import Flows
from services.api_edge.domain.messages import Messages
from services.api_edge.domain.model_list import ModelInfo
from services.api_edge.domain.sizes import ANY_SIZE, Sizes
from services.api_edge.openapi import Description
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
from services.api_edge.problems import Problems
from services.api_edge.routes.councils import CouncilUseCases, council_given_up, councils_router
from services.api_edge.routes.credit_admin import credit_admin_router
from services.api_edge.routes.credits import credits_router
from services.api_edge.routes.deductions import deductions_router
from services.api_edge.routes.failures import install_failures
from services.api_edge.routes.flows import flows_router
from services.api_edge.routes.gate import Gate
from services.api_edge.routes.health import health_router
from services.api_edge.routes.key_admin import key_admin_router
from services.api_edge.routes.keys import KeyUseCases, keys_router
from services.api_edge.routes.middleware import AnswerHeaders, BodyLimit, Note, RequestLog
from services.api_edge.routes.model_list import model_list_router
from services.api_edge.routes.model_settings import model_settings_router
from services.api_edge.routes.models import models_router
from services.api_edge.routes.openai_runs import openai_router
from services.api_edge.routes.prices import prices_router
from services.api_edge.routes.providers import providers_router
from services.api_edge.routes.runs import RunUseCases, runs_router
from services.api_edge.routes.tracing import Traced
from services.api_edge.routes.usage import usage_router
from services.api_edge.routes.user_settings import user_settings_router
from services.api_edge.use_cases.attaching import Attaching
from services.api_edge.use_cases.authenticate import Authenticate
from services.api_edge.use_cases.back_pressure import BackPressure
from services.api_edge.use_cases.call_council import CallCouncilUseCase
from services.api_edge.use_cases.check_key import CheckKey
from services.api_edge.use_cases.check_readiness import CheckReadiness
from services.api_edge.use_cases.choose_model import ChooseModel
from services.api_edge.use_cases.follow_council import FollowCouncil
from services.api_edge.use_cases.follow_run import FollowRun
from services.api_edge.use_cases.hold_council import HoldCouncil
from services.api_edge.use_cases.issue_session import IssueSessionUseCase
from services.api_edge.use_cases.known_flows import KnownFlows
from services.api_edge.use_cases.list_councils import ListCouncils
from services.api_edge.use_cases.list_runs import ListRuns
from services.api_edge.use_cases.model_list import AskModels, ModelList
from services.api_edge.use_cases.places import Places
from services.api_edge.use_cases.price_overrides import PriceOverrides
from services.api_edge.use_cases.read_receipt import ReadReceipt
from services.api_edge.use_cases.replace_key import ReplaceKeyUseCase
from services.api_edge.use_cases.run_guard import RunGuard
from services.api_edge.use_cases.session_usage import SessionUsage
from services.api_edge.use_cases.start_run import RunTimes, StartRunUseCase
from services.api_edge.use_cases.store_key import StoreKeyUseCase
from services.api_edge.use_cases.validate_stored_key import ValidateStoredKey
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.runtime.tracing import OFF, Tracing

_DATA = Path(__file__).parent / "data"
_EXPOSED = (
    *("Latchkey-Run-Id", "Latchkey-Key-Source", "Latchkey-Cost", "Location", "Content-Language"),
    *("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"),
)


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


def create_api(ports: EdgePorts, rules: EdgeRules) -> ASGIApp:
    problems = Problems(Messages.read((_DATA / "messages.json").read_bytes()), rules.settings_url)
    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="Latchkey",
        description="Runs language models with your own provider keys, or with credits.",
        version="1",
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    install_failures(app, problems)
    _add_routes(app, ports, rules, problems)
    Description(problems, orjson.loads((_DATA / "examples.json").read_bytes())).install(app)
    if rules.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=rules.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
        )
    logged = RequestLog(AnswerHeaders(BodyLimit(app, rules.body_bytes_max)), ports.note_request)
    return Traced(logged, ports.tracing) if ports.tracing.is_on else logged


def shipped_flows() -> Flows:
    return Flows.read((_DATA / "flows.json").read_bytes())


def _add_routes(app: FastAPI, ports: EdgePorts, rules: EdgeRules, problems: Problems) -> None:
    gate = Gate(Authenticate(ports.tokens, ports.jwt), ports.rates, is_open=rules.is_open)
    back_pressure = BackPressure(ports.queued_runs, waiting_max=rules.queue_runs_max)
    catalogue = Catalogue.read((_DATA / "catalogue.json").read_bytes())
    flows = KnownFlows(ports.flows, shipped_flows())
    following = partial(
        FollowRun, runs=ports.runs, bus=ports.bus, attach=Attaching(ports.bus), waiting=ports.waiting
    )
    follow = following(places=Places(rules.hearings_at_once_max))
    start_run = StartRunUseCase(
        flows=flows,
        catalogue=catalogue,
        preferences=ports.preferences,
        runs=ports.runs,
        sealer=ports.sealer,
        bus=ports.bus,
        waiting=ports.waiting,
        follow=follow,
        guard=RunGuard(back_pressure, rules.sizes, at_once_max=rules.runs_at_once_max),
        times=rules.times,
    )
    read_receipt = ReadReceipt(
        runs=ports.runs, billing=ports.billing, waiting=ports.waiting, pauses_s=rules.receipt_pauses_s
    )
    sessions = SessionUsage(ports.billing)
    app.include_router(openai_router(gate, start_run, problems, sessions))
    app.include_router(models_router(gate, catalogue))
    models = ModelList(tuple(model.id for model in catalogue), ports.priced_models, ports.ask_models)
    overrides = PriceOverrides(ports.prices)
    app.include_router(
        model_list_router(
            gate,
            models=models,
            overrides=overrides,
            key_vault=ports.key_vault,
            preferences=ports.preferences,
            catalogue=catalogue,
        )
    )
    app.include_router(model_settings_router(gate, _choose_model(ports, catalogue, flows)))
    app.include_router(flows_router(gate, flows, catalogue))
    app.include_router(keys_router(gate, _key_use_cases(ports), ports.key_vault))
    app.include_router(user_settings_router(gate, ports.key_vault))
    app.include_router(providers_router(gate, ports.key_vault))
    app.include_router(key_admin_router(gate, ports.administration))
    app.include_router(credits_router(gate, ports.billing))
    app.include_router(credit_admin_router(gate, ports.billing))
    app.include_router(deductions_router(gate, ports.billing, read_receipt))
    app.include_router(usage_router(gate, ports.billing))
    app.include_router(prices_router(gate, ports.prices, overrides, catalogue))
    app.include_router(
        runs_router(
            gate,
            RunUseCases(
                start=start_run,
                follow=follow,
                list=ListRuns(ports.runs),
                read_receipt=read_receipt,
                sessions=sessions,
            ),
            problems,
        )
    )
    follow_council = _follow_council(ports, follow)
    # The edge's own hearing of a council is not its user's: at a limit, answers would be left out.
    hold = HoldCouncil(
        councils=ports.councils,
        follow=_follow_council(ports, following(places=Places(0))),
        start=start_run,
        sizes=rules.sizes,
        given_up=council_given_up,
    )
    call = CallCouncilUseCase(
        flows=flows,
        catalogue=catalogue,
        key_vault=ports.key_vault,
        councils=ports.councils,
        start=start_run,
        follow=follow_council,
        hold=hold,
        sizes=rules.sizes,
        times=rules.times,
    )
    app.include_router(
        councils_router(
            gate,
            CouncilUseCases(
                call=call,
                follow=follow_council,
                list=ListCouncils(ports.councils, ports.runs),
                hold=hold,
                read_receipt=read_receipt,
                sessions=sessions,
            ),
            problems,
        )
    )
    app.include_router(health_router(CheckReadiness(ports.probes)))


def _follow_council(ports: EdgePorts, follow: FollowRun) -> FollowCouncil:
    return FollowCouncil(councils=ports.councils, runs=ports.runs, bus=ports.bus, follow=follow)


def _choose_model(ports: EdgePorts, catalogue: Catalogue, flows: KnownFlows) -> ChooseModel:
    check = CheckKey(sealer=ports.sealer, validator=ports.validator)
    return ChooseModel(
        catalogue=catalogue,
        flows=flows,
        preferences=ports.preferences,
        key_vault=ports.key_vault,
        validate=ValidateStoredKey(key_vault=ports.key_vault, check_key=check),
    )


def _key_use_cases(ports: EdgePorts) -> KeyUseCases:
    sealer, key_vault = ports.sealer, ports.key_vault
    check = CheckKey(sealer=sealer, validator=ports.validator)
    return KeyUseCases(
        store=StoreKeyUseCase(sealer=sealer, key_vault=key_vault, check_key=check),
        issue_session=IssueSessionUseCase(sealer=sealer, key_vault=key_vault, check_key=check),
        replace=ReplaceKeyUseCase(sealer=sealer, key_vault=key_vault, check_key=check),
        check=check,
        validate_stored=ValidateStoredKey(key_vault=key_vault, check_key=check),
    )
