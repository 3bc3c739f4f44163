"""Whose key a run uses: the whole table, against a plain reading of the rule."""

import asyncio
from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.key_vault.domain.credentials import Consent
from services.key_vault.domain.order import own_services, platform_services
from shared.contracts.keys import KeyResolved
from shared.kernel.errors import PlatformError
from shared.kernel.names import KeyPolicy, KeyService, KeySource
from tests.fakes.key_vault_house import GATEWAY_URL, House, request_key

pytestmark = pytest.mark.unit

_OWN = (KeyService.GATEWAY, KeyService.OPENAI, KeyService.OPENROUTER)
_PLATFORM = (KeyService.OPENAI, KeyService.OPENROUTER)
_SOURCES = {KeyService.GATEWAY: KeySource.USER_GATEWAY}


@dataclass(frozen=True)
class Case:
    """What there is; the run's provider is OpenAI. `failed`: how many of the best keys failed before."""

    policy: KeyPolicy
    request: bool = False
    own: frozenset[KeyService] = frozenset()
    platform: frozenset[KeyService] = frozenset()
    consent: bool = True
    failed: int = 0


def expected(case: Case) -> str:
    """Return `source:service`, or the code of the refusal: DESIGN §7, read line by line."""
    takes_own = case.policy in {KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED}
    own = ["request:openai"] if case.request else []
    own += [f"{_SOURCES.get(service, 'user')}:{service}" for service in _OWN if service in case.own]
    own = own if takes_own else []
    if case.failed < len(own):
        return own[case.failed]
    if case.policy is KeyPolicy.USER_KEY_REQUIRED:
        return "user_api_key_invalid" if case.failed else "user_api_key_required"
    if takes_own and not case.consent:
        return "consent_required"
    platform = [f"platform:{service}" for service in _PLATFORM if service in case.platform]
    rest = platform[case.failed - len(own) :]
    return rest[0] if rest else "system_key_exhausted"


async def _actual(case: Case) -> str:
    house = House()
    for service in case.own:
        base_url = GATEWAY_URL if service is KeyService.GATEWAY else None
        await house.keep(f"sk-own-{service}", service=service, base_url=base_url)
    for service in case.platform:
        await house.platform_keys.put(service, f"sk-platform-{service}")
    await house.store.decide("ada", Consent(case.consent, "c-1"))
    excluding: tuple[str, ...] = ()
    for _ in range(case.failed):
        excluding += ((await _resolve(house, case, excluding)).credential_id,)
    answer = await _resolve(house, case, excluding)
    return f"{answer.source}:{answer.service}"


async def _resolve(house: House, case: Case, excluding: tuple[str, ...]) -> KeyResolved:
    query = house.worker.asks(policy=case.policy, excluding=excluding)
    if case.request:
        sent = request_key(house.pair.public_key, query.run_id)
        query = query.model_copy(update={"request_key": sent})
    return await house.handlers.on_resolve_key(query)


def _subsets(services: tuple[KeyService, ...]) -> list[frozenset[KeyService]]:
    flags = product((False, True), repeat=len(services))
    return [frozenset(s for s, there in zip(services, flag, strict=True) if there) for flag in flags]


def _cases() -> list[Case]:
    base = [
        Case(policy, request, own, platform, consent)
        for policy, request, own, platform, consent in product(
            KeyPolicy, (False, True), _subsets(_OWN), _subsets(_PLATFORM), (True, False)
        )
    ]
    return [replace(case, failed=failed) for case in base for failed in range(_available(case) + 1)]


def _available(case: Case) -> int:
    """Return how many answers there are before a refusal."""
    failed = 0
    while ":" in expected(replace(case, failed=failed)):
        failed += 1
    return failed


async def test_every_case_of_the_table() -> None:
    cases = _cases()
    assert len(cases) > 1000
    for case in cases:
        try:
            actual = await _actual(case)
        except PlatformError as error:
            actual = error.code
        assert actual == expected(case), case


_POLICIES = st.sampled_from(KeyPolicy)
_PROVIDERS = st.sampled_from(KeyService)
_SETS = st.frozensets(st.sampled_from(KeyService))


@settings(deadline=None, max_examples=60)
@given(policy=_POLICIES, provider=_PROVIDERS, own=_SETS, platform=_SETS, consent=st.booleans())
def test_nobody_pays_who_did_not_agree(
    policy: KeyPolicy,
    provider: KeyService,
    own: frozenset[KeyService],
    platform: frozenset[KeyService],
    consent: bool,  # noqa: FBT001
) -> None:
    """Over all providers: the platform's key only where policy and consent let it, after the user's."""

    async def story() -> KeyResolved | PlatformError:
        house = House()
        for service in own:
            base_url = GATEWAY_URL if service is KeyService.GATEWAY else None
            await house.keep(f"sk-own-{service}", service=service, base_url=base_url)
        for service in platform:
            await house.platform_keys.put(service, f"sk-platform-{service}")
        await house.store.decide("ada", Consent(consent, "c-1"))
        try:
            return (await house.resolve(policy=policy, provider=provider))[0]
        except PlatformError as error:
            return error

    answer = asyncio.run(story())
    if isinstance(answer, PlatformError):
        assert policy is not KeyPolicy.USER_KEY_REQUIRED or not own & set(own_services(provider))
    elif answer.source is KeySource.PLATFORM:
        assert policy is not KeyPolicy.USER_KEY_REQUIRED
        assert answer.service in platform_services(provider)
        assert answer.base_url is None
        if policy is KeyPolicy.USER_KEY_PREFERRED:
            assert consent
            assert not own & set(own_services(provider))
            assert answer.consent_id == "c-1"
        else:
            assert answer.consent_id is None
    else:
        assert policy in {KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED}
        assert answer.service in own_services(provider)
        assert answer.consent_id is None
