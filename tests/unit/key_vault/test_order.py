"""Whose key a run uses: the whole table, against a plain reading of the rule."""

from collections.abc import Iterator
from itertools import product

import pytest

from services.key_vault.domain.credentials import Consent
from services.key_vault.domain.fallback import Lent
from shared.kernel.errors import PlatformError
from shared.kernel.names import KeyPolicy, KeyService, KeySource
from tests.unit.key_vault.worlds import (
    BACK_IN_S,
    COOLING,
    FAILED,
    ORDER,
    OUT,
    OWN,
    PLATFORM,
    THERE,
    States,
    World,
    name_of,
    source_of,
)

pytestmark = pytest.mark.unit

_SOURCES = {"user_openrouter": "user", "platform_openrouter": "platform"}
_CONSENTS = [Consent(platform, gateway, "c-1") for platform, gateway in product((True, False), repeat=2)]
_OPENROUTER_EXHAUSTED = "system_key_exhausted:OPENROUTER_SYSTEM_KEY_EXHAUSTED"


def expected(world: World) -> str:
    """Return the name of the key, or the refusal's code (and detail): the rule, read line by line."""
    states, consent = world.states, world.consent
    strict = world.policy is KeyPolicy.USER_KEY_REQUIRED and not world.report_only
    platform_flow = world.policy in {KeyPolicy.PLATFORM_ONLY, KeyPolicy.SYSTEM}
    may_platform = platform_flow or (not strict and consent.allow_platform)
    may_gateway = platform_flow or (not strict and consent.allow_gateway)
    for name in ORDER:
        if name in OWN:
            allowed = not platform_flow
        else:
            allowed = may_gateway if name == "team_gateway" else may_platform
        if allowed and states.get(name) == THERE:
            return name
    own = "user_api_key_invalid" if FAILED in map(states.get, OWN) else "user_api_key_required"
    if strict:
        return own
    if not may_platform:
        return "consent_required"
    if not may_gateway and states.get("team_gateway") in {THERE, COOLING}:
        return "consent_required:allowGatewayFallback"
    if not platform_flow and not any(name in states for name in PLATFORM):
        return own
    return _OPENROUTER_EXHAUSTED if "platform_openrouter" in states else "system_key_exhausted"


def actual(world: World) -> str:
    try:
        choice = world.choose()
    except PlatformError as error:
        return said(error)
    check_told(world, choice)
    return name_of(choice)


def said(error: PlatformError) -> str:
    return f"{error.code}:{error.detail}" if error.detail else error.code


def at_once(world: World) -> str:
    """The same, for an engine that knows everything beforehand."""
    try:
        return name_of(world.choose_at_once())
    except PlatformError as error:
        return said(error)


def check_told(world: World, choice: object) -> None:
    """The source, the consent and the policy that would have refused, told with the key."""
    if not isinstance(choice, Lent):
        return
    falls_back = world.policy not in {KeyPolicy.PLATFORM_ONLY, KeyPolicy.SYSTEM}
    assert choice.consent_id == ("c-1" if falls_back else None)
    reported = KeyPolicy.USER_KEY_REQUIRED if world.policy is KeyPolicy.USER_KEY_REQUIRED else None
    assert choice.would_refuse_policy == reported
    assert reported is None or world.report_only


def check_looked(world: World, answer: str) -> None:
    """Nothing is looked at before what comes first has failed; the platform's keys never for nothing."""
    own, pools = world.looked.count("own"), [place for place in world.looked if place != "own"]
    platform_flow = world.policy in {KeyPolicy.PLATFORM_ONLY, KeyPolicy.SYSTEM}
    assert own == (0 if platform_flow or answer in {"request", "session"} else 1)
    assert own == 0 or world.looked[0] == "own"
    assert len(pools) == len(set(pools))
    if answer == "consent_required":
        assert not [place for place in pools if place != KeyService.GATEWAY]
    if answer in OWN or (world.policy is KeyPolicy.USER_KEY_REQUIRED and not world.report_only):
        assert not pools


def every_state(names: tuple[str, ...], states: tuple[str, ...]) -> Iterator[States]:
    """Return every way in which these keys can be absent, or stand in one of these states."""
    for combination in product(("", *states), repeat=len(names)):
        yield {name: state for name, state in zip(names, combination, strict=True) if state}


@pytest.mark.parametrize("report_only", [False, True])
@pytest.mark.parametrize("policy", KeyPolicy)
def test_every_combination(policy: KeyPolicy, report_only: bool) -> None:  # noqa: FBT001
    """policy, report only, both consents, and each of the eight keys absent, there or failed: 209,952."""
    cases = 0
    for states in every_state(ORDER, (THERE, FAILED)):
        for consent in _CONSENTS:
            world = World(policy, report_only, consent, states)
            answer = actual(world)
            assert answer == expected(world), world
            check_looked(world, answer)
            cases += 1
    assert cases == 4 * 3**8


@pytest.mark.parametrize("report_only", [False, True])
@pytest.mark.parametrize("policy", KeyPolicy)
def test_every_state_of_the_platforms_keys(policy: KeyPolicy, report_only: bool) -> None:  # noqa: FBT001
    """Cooling and out as well, for users without a key, with one, and with one that failed."""
    for own in ({}, {"user": THERE}, {"user": FAILED}):
        for states in every_state(PLATFORM, (THERE, FAILED, COOLING, OUT)):
            for consent in _CONSENTS:
                world = World(policy, report_only, consent, {**own, **states})
                assert actual(world) == at_once(world) == expected(world), world


def test_the_source_of_every_key() -> None:
    for name in ORDER:
        consent = Consent(allow_platform=True, allow_gateway=True, consent_id="c-1")
        world = World(KeyPolicy.USER_KEY_PREFERRED, False, consent, {name: THERE})
        assert source_of(world.choose()) == KeySource(_SOURCES.get(name, name))


def test_whoever_is_exhausted_says_when_the_first_is_back() -> None:
    for states in every_state(PLATFORM, (FAILED, COOLING, OUT)):
        with pytest.raises(PlatformError) as refused:
            World(KeyPolicy.PLATFORM_ONLY, False, _CONSENTS[0], states).choose()
        cools = COOLING in states.values()
        assert refused.value.retry_after_s == (BACK_IN_S if cools else None)
