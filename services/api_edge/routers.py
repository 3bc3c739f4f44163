"""The edge's routes, by subject, on what its ports and rules make of them."""

from collections.abc import Iterator

from fastapi import APIRouter

from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.domain.flows import Flows
from services.api_edge.parts import EdgePorts, EdgeRules
from services.api_edge.problems import Problems
from services.api_edge.routes.councils import CouncilUseCases, council_given_up, councils_router
from services.api_edge.routes.credit_admin import credit_admin_router
from services.api_edge.routes.credits import credits_router
from services.api_edge.routes.deductions import deductions_router
from services.api_edge.routes.flows import flows_router
from services.api_edge.routes.gate import Gate
from services.api_edge.routes.health import health_router
from services.api_edge.routes.key_admin import key_admin_router
from services.api_edge.routes.keys import KeyUseCases, keys_router
from services.api_edge.routes.model_list import model_list_router
from services.api_edge.routes.model_settings import model_settings_router
from services.api_edge.routes.openai_models import openai_models_router
from services.api_edge.routes.openai_runs import openai_router
from services.api_edge.routes.prices import prices_router
from services.api_edge.routes.providers import providers_router
from services.api_edge.routes.runs import RunUseCases, runs_router
from services.api_edge.routes.usage import usage_router
from services.api_edge.routes.user_settings import user_settings_router
from services.api_edge.use_cases.attaching import Attaching
from services.api_edge.use_cases.authenticate import Authenticate
from services.api_edge.use_cases.back_pressure import BackPressure
from services.api_edge.use_cases.call_council import CallCouncilUseCase
from services.api_edge.use_cases.check_key import CheckKey
from services.api_edge.use_cases.check_readiness import CheckReadiness
from services.api_edge.use_cases.choose_model import ChooseModel
from services.api_edge.use_cases.decide_run import DecideRun
from services.api_edge.use_cases.follow_council import FollowCouncil
from services.api_edge.use_cases.follow_run import FollowRun
from services.api_edge.use_cases.hold_council import HoldCouncil
from services.api_edge.use_cases.issue_session import IssueSessionUseCase
from services.api_edge.use_cases.known_flows import KnownFlows
from services.api_edge.use_cases.list_councils import ListCouncils
from services.api_edge.use_cases.list_runs import ListRuns
from services.api_edge.use_cases.model_list import ModelList
from services.api_edge.use_cases.places import Places
from services.api_edge.use_cases.price_overrides import PriceOverrides
from services.api_edge.use_cases.read_receipt import ReadReceipt
from services.api_edge.use_cases.replace_key import ReplaceKeyUseCase
from services.api_edge.use_cases.run_guard import RunGuard
from services.api_edge.use_cases.run_requests import RunRequests
from services.api_edge.use_cases.session_usage import SessionUsage
from services.api_edge.use_cases.start_run import StartRunUseCase
from services.api_edge.use_cases.store_key import StoreKeyUseCase
from services.api_edge.use_cases.validate_stored_key import ValidateStoredKey


class EdgeRouters:
    """What several subjects stand on is made once."""

    def __init__(
        self, ports: EdgePorts, rules: EdgeRules, problems: Problems, catalogue: Catalogue, shipped: Flows
    ) -> None:
        self._ports = ports
        self._rules = rules
        self._problems = problems
        self._catalogue = catalogue
        self._gate = Gate(Authenticate(ports.tokens, ports.jwt), ports.rates, is_open=rules.is_open)
        self._flows = KnownFlows(ports.flows, shipped)
        self._decide = DecideRun(self._flows, catalogue, ports.preferences)
        self._overrides = PriceOverrides(ports.prices)
        self._sessions = SessionUsage(ports.billing)
        self._attach = Attaching(ports.bus)
        self._follow = self._following(Places(rules.hearings_at_once_max))
        self._start_run = self._starting()
        self._read_receipt = ReadReceipt(
            runs=ports.runs, billing=ports.billing, waiting=ports.waiting, pauses_s=rules.receipt_pauses_s
        )
        self._check_key = CheckKey(sealer=ports.sealer, validator=ports.validator)
        self._validate_stored = ValidateStoredKey(key_vault=ports.key_vault, check_key=self._check_key)

    def all(self) -> Iterator[APIRouter]:
        """In the order of the API's description."""
        yield from self._openai()
        yield from self._models()
        yield from self._keys()
        yield from self._credits()
        yield self._runs()
        yield self._councils()
        yield health_router(CheckReadiness(self._ports.probes))

    def _openai(self) -> Iterator[APIRouter]:
        yield openai_router(self._gate, self._start_run, self._problems, self._sessions)
        yield openai_models_router(self._gate, self._catalogue)

    def _models(self) -> Iterator[APIRouter]:
        ports, shipped = self._ports, tuple(model.id for model in self._catalogue)
        yield model_list_router(
            self._gate,
            models=ModelList(shipped, ports.priced_models, ports.ask_models),
            overrides=self._overrides,
            key_vault=ports.key_vault,
            preferences=ports.preferences,
            catalogue=self._catalogue,
        )
        yield model_settings_router(self._gate, self._choosing_model())
        yield flows_router(self._gate, self._flows, self._catalogue)

    def _keys(self) -> Iterator[APIRouter]:
        key_vault = self._ports.key_vault
        yield keys_router(self._gate, self._key_use_cases(), key_vault)
        yield user_settings_router(self._gate, key_vault)
        yield providers_router(self._gate, key_vault)
        yield key_admin_router(self._gate, self._ports.administration)

    def _credits(self) -> Iterator[APIRouter]:
        billing = self._ports.billing
        yield credits_router(self._gate, billing)
        yield credit_admin_router(self._gate, billing)
        yield deductions_router(self._gate, billing, self._read_receipt)
        yield usage_router(self._gate, billing)
        yield prices_router(self._gate, self._ports.prices, self._overrides, self._catalogue)

    def _runs(self) -> APIRouter:
        runs = RunUseCases(
            start=self._start_run,
            follow=self._follow,
            list=ListRuns(self._ports.runs),
            read_receipt=self._read_receipt,
            sessions=self._sessions,
        )
        return runs_router(self._gate, runs, self._problems)

    def _councils(self) -> APIRouter:
        follow, hold = self._following_council(self._follow), self._holding_council()
        councils = CouncilUseCases(
            call=self._calling_council(follow, hold),
            follow=follow,
            list=ListCouncils(self._ports.councils, self._ports.runs),
            hold=hold,
            read_receipt=self._read_receipt,
            sessions=self._sessions,
        )
        return councils_router(self._gate, councils, self._problems)

    # -- use cases ----------------------------------------------------------------------------------------

    def _following(self, places: Places) -> FollowRun:
        ports = self._ports
        return FollowRun(
            runs=ports.runs, bus=ports.bus, attach=self._attach, waiting=ports.waiting, places=places
        )

    def _starting(self) -> StartRunUseCase:
        ports, rules = self._ports, self._rules
        back_pressure = BackPressure(ports.queued_runs, waiting_max=rules.queue_runs_max)
        return StartRunUseCase(
            decide=self._decide,
            requests=RunRequests(ports.sealer, rules.times),
            runs=ports.runs,
            bus=ports.bus,
            waiting=ports.waiting,
            follow=self._follow,
            guard=RunGuard(back_pressure, rules.sizes, at_once_max=rules.runs_at_once_max),
        )

    def _choosing_model(self) -> ChooseModel:
        ports = self._ports
        return ChooseModel(
            catalogue=self._catalogue,
            flows=self._flows,
            preferences=ports.preferences,
            key_vault=ports.key_vault,
            validate=self._validate_stored,
        )

    def _key_use_cases(self) -> KeyUseCases:
        sealer, key_vault, check = self._ports.sealer, self._ports.key_vault, self._check_key
        return KeyUseCases(
            store=StoreKeyUseCase(sealer=sealer, key_vault=key_vault, check_key=check),
            issue_session=IssueSessionUseCase(sealer=sealer, key_vault=key_vault, check_key=check),
            replace=ReplaceKeyUseCase(sealer=sealer, key_vault=key_vault, check_key=check),
            check=check,
            validate_stored=self._validate_stored,
        )

    def _following_council(self, follow: FollowRun) -> FollowCouncil:
        ports = self._ports
        return FollowCouncil(councils=ports.councils, runs=ports.runs, bus=ports.bus, follow=follow)

    def _holding_council(self) -> HoldCouncil:
        # The edge's own hearing of a council is not its user's: at a limit, answers would be left out.
        return HoldCouncil(
            councils=self._ports.councils,
            follow=self._following_council(self._following(Places(0))),
            start=self._start_run,
            sizes=self._rules.sizes,
            given_up=council_given_up,
        )

    def _calling_council(self, follow: FollowCouncil, hold: HoldCouncil) -> CallCouncilUseCase:
        return CallCouncilUseCase(
            catalogue=self._catalogue,
            key_vault=self._ports.key_vault,
            councils=self._ports.councils,
            decide=self._decide,
            start=self._start_run,
            follow=follow,
            hold=hold,
            sizes=self._rules.sizes,
            times=self._rules.times,
        )
