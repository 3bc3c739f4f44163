"""The law: nobody pays, and no key of others serves, without leave."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.key_vault.domain.ask import Ask, Sent
from services.key_vault.domain.choice import Choice, Own
from services.key_vault.domain.credentials import Consent, OwnKeys, Place, StoredCredential
from services.key_vault.domain.fallback import Lent
from services.key_vault.domain.platform import PlatformMark, PoolState, platform_key
from shared.kernel.errors import PlatformError
from shared.kernel.key_order import own_services, platform_services, platform_source
from shared.kernel.names import CredentialStatus, KeyPolicy, KeyService, KeySource, PlatformKeyState
from shared.kernel.secret import SecretText
from tests.unit.key_vault.worlds import NOON, look, source_of

pytestmark = pytest.mark.unit

_SERVICES = st.sampled_from(KeyService)
_GATEWAY_URL = "https://team.example/v1"
_SENT = (Sent(KeySource.REQUEST), Sent(KeySource.REQUEST, 2), Sent(KeySource.SESSION))


@st.composite
def credentials(draw: st.DrawFn) -> StoredCredential:
    place = Place("ada", UUID(int=draw(st.integers(0, 9))), draw(_SERVICES), None)
    status = draw(st.sampled_from(CredentialStatus))
    return StoredCredential(place, "vault:v1:AAAA", "…", None, NOON, status=status)


@st.composite
def pools(draw: st.DrawFn) -> dict[KeyService, PoolState]:
    return {service: draw(_pool(service)) for service in draw(st.sets(_SERVICES))}


@st.composite
def _pool(draw: st.DrawFn, service: KeyService) -> PoolState:
    keys = [platform_key(service, SecretText(f"sk-{number}")) for number in range(draw(st.integers(0, 3)))]
    marked = []
    for key in keys:
        state = draw(st.sampled_from(PlatformKeyState))
        until = NOON + timedelta(seconds=9) if state is PlatformKeyState.COOLING else None
        mark = PlatformMark(key.credential_id, service, state, until, "x", NOON)
        marked.append(key if state is PlatformKeyState.READY else replace(key, mark=mark))
    base_url = _GATEWAY_URL if service is KeyService.GATEWAY else None
    return PoolState(tuple(marked), base_url, draw(st.integers(0, 7)))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Ask, OwnKeys, dict[KeyService, PoolState]]:
    own = draw(st.lists(credentials(), max_size=6, unique_by=lambda one: one.credential_id))
    there = draw(pools())
    ids = [key.credential_id for pool in there.values() for key in pool.keys]
    ids += [one.credential_id for one in own] + [sent.credential_id for sent in _SENT]
    ask = Ask(
        draw(st.sampled_from(KeyPolicy)),
        draw(_SERVICES),
        NOON,
        report_only=draw(st.booleans()),
        sent=[sent for sent in _SENT if draw(st.booleans())],
        excluding=draw(st.sets(st.sampled_from(ids))),
    )
    consent = Consent(draw(st.booleans()), draw(st.booleans()), "c-1")
    return ask, OwnKeys(tuple(own), consent), there


def chosen(ask: Ask, own: OwnKeys, there: dict[KeyService, PoolState]) -> Choice | None:
    """Return None for a refusal."""
    try:
        return look(ask, own, there, [])
    except PlatformError:
        return None


@settings(max_examples=250)
@given(worlds())
def test_no_key_of_others_without_leave(
    world: tuple[Ask, OwnKeys, dict[KeyService, PoolState]],
) -> None:
    """A run under an enforced `user_key_required`, or falling back without consent, never gets one."""
    ask, own, there = world
    choice = chosen(ask, own, there)
    if choice is None or source_of(choice).is_byok:
        return
    if ask.policy is KeyPolicy.USER_KEY_REQUIRED:
        assert ask.report_only
    if ask.policy in {KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED}:
        gateway = source_of(choice) is KeySource.TEAM_GATEWAY
        assert own.consent.allow_gateway if gateway else own.consent.allow_platform


@settings(max_examples=120)
@given(worlds())
def test_what_serves_can_serve_and_has_not_failed(
    world: tuple[Ask, OwnKeys, dict[KeyService, PoolState]],
) -> None:
    ask, own, there = world
    match chosen(ask, own, there):
        case Sent() as sent:
            assert sent in ask.sent
            assert sent.credential_id not in ask.excluding
        case Own(credential):
            assert credential in own.credentials
            assert credential.status is not CredentialStatus.INACTIVE
            assert credential.place.service in own_services(ask.provider)
            assert credential.credential_id not in ask.excluding
        case Lent(key=key, base_url=base_url):
            assert key in there[key.service].keys
            assert key.state is PlatformKeyState.READY
            assert key.service in platform_services(ask.provider)
            assert key.credential_id not in ask.excluding
            is_team = platform_source(key.service) is KeySource.TEAM_GATEWAY
            assert base_url == (_GATEWAY_URL if is_team else None), "no platform key goes to another address"
        case None:
            pass


@settings(max_examples=120)
@given(worlds())
def test_a_refusal_only_when_no_key_of_ones_own_is_left(
    world: tuple[Ask, OwnKeys, dict[KeyService, PoolState]],
) -> None:
    ask, own, there = world
    usable = [
        one
        for one in own.credentials
        if one.place.service in own_services(ask.provider)
        and one.status is not CredentialStatus.INACTIVE
        and one.credential_id not in ask.excluding
    ]
    choice = chosen(ask, own, there)
    sent = {one.credential_id for one in ask.sent} - {*ask.excluding}
    if ask.takes_own_keys and (usable or sent):
        assert isinstance(choice, Sent | Own)
    else:
        assert choice is None or isinstance(choice, Lent)
