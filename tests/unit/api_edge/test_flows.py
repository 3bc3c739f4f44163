"""Flows: what ships, who may run and see which, and on what terms."""

import pytest

from services.api_edge.api import shipped_flows
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.flows import Flow, Flows, RunTerms, is_flow_name, run_terms
from services.api_edge.domain.identity import ANONYMOUS, Caller
from shared.kernel.errors import ForbiddenError, UserApiKeyRequiredError
from shared.kernel.names import KeyPolicy, KeyService, Role
from tests.fakes.api_edge import ALICE
from tests.unit.api_edge.test_words import CATALOGUE

pytestmark = pytest.mark.unit

FLOWS = shipped_flows()
NOBODY = Caller(ANONYMOUS, Role.USER)
MODEL = "openai/gpt-4o-mini"
REQUIRED, PREFERRED = KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED
PLATFORM, SYSTEM = KeyPolicy.PLATFORM_ONLY, KeyPolicy.SYSTEM
AGENTS = (
    "relevance_selector_agent",
    "excess_condenser_agent",
    "pinner_agent",
    "metapinner_agent",
    "domain_genesis_agent",
    "chroma_agent",
)


def test_what_ships() -> None:
    assert {flow.name: flow.policy for flow in FLOWS} == {
        "chat": PREFERRED,
        "playground": PREFERRED,
        "solver": REQUIRED,
        "deep_analysis": PLATFORM,
        "code_fix": PREFERRED,
        "code_canvas": PLATFORM,
        **dict.fromkeys(AGENTS, PREFERRED),
        "system": SYSTEM,
    }
    for flow in FLOWS:
        assert is_flow_name(flow.name)
        assert 0 < len(flow.description) <= 500
        assert CATALOGUE.find(flow.default_model).id == flow.default_model
        assert not flow.report_only


@pytest.mark.parametrize(
    ("name", "flow"), [(None, "chat"), ("chat", "chat"), (" solver ", "solver"), ("code_fix", "code_fix")]
)
def test_a_flow_is_found_by_its_name(name: str | None, flow: str) -> None:
    assert FLOWS.named(name, Role.USER).name == flow


@pytest.mark.parametrize("name", ["", "Chat", "nope", "chat,solver"])
def test_an_unknown_flow_is_refused(name: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        FLOWS.named(name, Role.USER)
    assert (refusal.value.reason, refusal.value.param) == ("unknown_flow", "Latchkey-Flow")


def test_system_flows_are_run_by_services_and_seen_by_administrators_too() -> None:
    assert FLOWS.named("system", Role.SERVICE).policy is SYSTEM
    for role in (Role.USER, Role.ADMIN):
        with pytest.raises(ForbiddenError):
            FLOWS.named("system", role)
    seen = {role: {f.name for f in FLOWS if f.is_shown_to(role)} for role in Role}
    assert seen[Role.SERVICE] == seen[Role.ADMIN] == seen[Role.USER] | {"system"}
    assert "system" not in seen[Role.USER]


def test_flows_must_be_sound() -> None:
    flow = Flow("a", SYSTEM, MODEL)
    with pytest.raises(ValueError, match="names of their own"):
        Flows((flow, flow), "a")
    with pytest.raises(ValueError, match="names of their own"):
        Flows((flow,), "b")


def test_kept_flows_go_over_the_shipped_ones() -> None:
    flows = FLOWS.with_all((Flow("chat", REQUIRED, MODEL), Flow("added", PLATFORM, MODEL)))
    assert flows.named(None, Role.USER).policy is REQUIRED
    assert flows.named("added", Role.USER).policy is PLATFORM
    assert flows.named("solver", Role.USER) == FLOWS.named("solver", Role.USER)


@pytest.mark.parametrize("name", ["", "Chat", "1st", "a b", "a\x00", "a" * 65, "a-b", "é", "a\n"])
def test_what_names_no_flow(name: str) -> None:
    assert not is_flow_name(name)


@pytest.mark.parametrize("policy", list(KeyPolicy))
@pytest.mark.parametrize("report_only", [True, False])
@pytest.mark.parametrize("has_key", [True, False])
def test_users_run_on_the_flows_terms(policy: KeyPolicy, *, report_only: bool, has_key: bool) -> None:
    flow = Flow("f", policy, MODEL, report_only=report_only)
    terms = run_terms(flow, ALICE, KeyService.OPENAI, has_key=has_key)
    assert terms == RunTerms(policy, report_only)


@pytest.mark.parametrize("policy", list(KeyPolicy))
@pytest.mark.parametrize("report_only", [True, False])
def test_nobodys_run_goes_on_its_own_key_and_no_other(policy: KeyPolicy, *, report_only: bool) -> None:
    flow = Flow("f", policy, MODEL, report_only=report_only)
    terms = run_terms(flow, NOBODY, KeyService.OPENAI, has_key=True)
    assert terms == RunTerms(REQUIRED, report_only=False)


@pytest.mark.parametrize("report_only", [True, False])
def test_without_one_nobodys_run_is_the_platforms_unless_the_flow_forbids_it(*, report_only: bool) -> None:
    for policy in (PREFERRED, PLATFORM):
        flow = Flow("f", policy, MODEL, report_only=report_only)
        terms = run_terms(flow, NOBODY, KeyService.OPENAI, has_key=False)
        assert terms == RunTerms(SYSTEM, report_only=False)
    with pytest.raises(UserApiKeyRequiredError) as refusal:
        run_terms(Flow("f", REQUIRED, MODEL, report_only=report_only), NOBODY, KeyService.XAI, has_key=False)
    assert refusal.value.service == "xai"
