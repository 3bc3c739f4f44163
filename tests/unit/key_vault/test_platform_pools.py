"""The platform's pools: taking turns, resting, being out, and who may see and mend them."""

from datetime import timedelta

import pytest

from services.key_vault.domain.platform import PlatformPool
from shared.contracts.platform_keys import ListPlatformKeys, MendPlatformKey, PlatformKeyInfo
from shared.contracts.resolving import KeyResolved
from shared.kernel.errors import (
    ConsentRequiredError,
    NotFoundError,
    SystemKeyExhaustedError,
    UserApiKeyRequiredError,
)
from shared.kernel.names import KeyPolicy, KeyService, KeySource, PlatformKeyState
from tests.fakes.key_vault_asking import limited, platform_id, refused
from tests.fakes.key_vault_house import GATEWAY_URL, House, soon

pytestmark = pytest.mark.unit

POOL = ("sk-platform-000001", "sk-platform-000002", "sk-platform-000003")


async def lent(house: House, **fields: object) -> str:
    return (await house.resolve(**{"policy": KeyPolicy.PLATFORM_ONLY, **fields}))[1]


async def exhausted(house: House, **fields: object) -> SystemKeyExhaustedError:
    with pytest.raises(SystemKeyExhaustedError) as refused:
        await lent(house, **fields)
    return refused.value


async def states(house: House) -> dict[str, PlatformKeyState]:
    listed = await house.handlers.on_list_platform_keys(ListPlatformKeys())
    return {key.hint: key.state for key in listed.items}


async def test_a_pool_takes_turns_and_skips_what_failed(house: House) -> None:
    pool = ("sk-platform-000001", "sk-platform-000002", "sk-platform-000003")
    await house.platform_keys.put(KeyService.OPENAI, *pool)
    keys = [(await house.resolve(policy=KeyPolicy.PLATFORM_ONLY))[1] for _ in range(6)]
    assert keys == [*pool, *pool]
    failed = platform_id(KeyService.OPENAI, pool[1])
    later = {(await house.resolve(policy=KeyPolicy.PLATFORM_ONLY, excluding=(failed,)))[1] for _ in range(6)}
    assert later == {pool[0], pool[2]}


async def test_a_platform_key_is_named_by_its_digest(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    resolved, _ = await house.resolve(policy=KeyPolicy.SYSTEM)
    assert resolved.credential_id == "platform:openai:371430a7b5bc"


async def test_openrouter_stands_in_for_a_provider(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    await house.platform_keys.put(KeyService.OPENROUTER, "sk-or-000001")
    failed = platform_id(KeyService.OPENAI, "sk-platform-000001")
    resolved, key = await house.resolve(policy=KeyPolicy.PLATFORM_ONLY, excluding=(failed,))
    assert (key, resolved.service) == ("sk-or-000001", KeyService.OPENROUTER)


async def test_a_platform_without_keys_says_whose_are_missing(house: House) -> None:
    with pytest.raises(SystemKeyExhaustedError) as refused:
        await house.resolve(policy=KeyPolicy.PLATFORM_ONLY, provider=KeyService.OPENAI)
    assert (refused.value.service, refused.value.detail) == (KeyService.OPENAI, None)
    with pytest.raises(SystemKeyExhaustedError) as refused:
        await house.resolve(policy=KeyPolicy.PLATFORM_ONLY, provider=KeyService.OPENROUTER)
    assert refused.value.detail == "OPENROUTER_SYSTEM_KEY_EXHAUSTED"


async def test_a_spent_openrouter_pool_is_told_by_its_own_name(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENROUTER, "sk-or-000001")
    failed = platform_id(KeyService.OPENROUTER, "sk-or-000001")
    with pytest.raises(SystemKeyExhaustedError) as refused:
        await house.resolve(policy=KeyPolicy.PLATFORM_ONLY, excluding=(failed,))
    assert (refused.value.service, refused.value.detail) == (
        KeyService.OPENROUTER,
        "OPENROUTER_SYSTEM_KEY_EXHAUSTED",
    )


# -- falling back -------------------------------------------------------------------------------------------


async def test_the_consent_travels_with_a_fallback_only(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    assert (await house.resolve())[0].consent_id == "default"
    decision = await house.store.consents.decide("ada", allow_platform=True, allow_gateway=None)
    house.memory.forget("ada")
    assert (await house.resolve())[0].consent_id == decision.consent_id
    assert (await house.resolve(policy=KeyPolicy.PLATFORM_ONLY))[0].consent_id is None
    await house.keep()
    assert (await house.resolve())[0].consent_id is None


async def test_what_a_reported_policy_would_have_refused_is_told(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    reported = {"policy": KeyPolicy.USER_KEY_REQUIRED, "report_only": True}
    resolved, _ = await house.resolve(**reported)
    assert (resolved.source, resolved.consent_id) == (KeySource.PLATFORM, "default")
    assert resolved.would_refuse_policy is KeyPolicy.USER_KEY_REQUIRED
    assert (await house.resolve(report_only=True))[0].would_refuse_policy is None
    await house.keep()
    resolved, _ = await house.resolve(**reported)
    assert (resolved.source, resolved.would_refuse_policy) == (KeySource.USER, None)


# -- the team's gateway -------------------------------------------------------------------------------------


async def _team_gateway(house: House, **fields: object) -> tuple[KeyResolved, str]:
    await house.platform_keys.put(KeyService.GATEWAY, "gw-team-000001", base_url=GATEWAY_URL)
    return await house.resolve(**fields)


@pytest.mark.parametrize("provider", KeyService)
async def test_the_teams_gateway_comes_last_at_its_own_address(house: House, provider: KeyService) -> None:
    resolved, key = await _team_gateway(house, policy=KeyPolicy.PLATFORM_ONLY, provider=provider)
    assert (resolved.source, resolved.service) == (KeySource.TEAM_GATEWAY, KeyService.GATEWAY)
    assert (resolved.base_url, key) == (GATEWAY_URL, "gw-team-000001")
    if provider is not KeyService.GATEWAY:
        await house.platform_keys.put(KeyService.OPENROUTER, "sk-or-000001")
        resolved, key = await house.resolve(policy=KeyPolicy.PLATFORM_ONLY, provider=provider)
        assert (resolved.source, resolved.base_url, key) == (KeySource.PLATFORM, None, "sk-or-000001")


async def test_the_teams_gateway_wants_a_leave_of_its_own(house: House) -> None:
    with pytest.raises(ConsentRequiredError) as refused:
        await _team_gateway(house)
    assert refused.value.detail == "allowGatewayFallback"
    await house.store.consents.decide("ada", allow_platform=False, allow_gateway=True)
    house.memory.forget("ada")
    resolved, _ = await house.resolve()
    assert resolved.source is KeySource.TEAM_GATEWAY


async def test_a_leave_that_would_be_of_no_use_is_not_asked_for(house: House) -> None:
    """Where the platform has no key, one's own would help; where it has one that is out, that."""
    for provider in (KeyService.OPENAI, KeyService.GATEWAY):
        with pytest.raises(UserApiKeyRequiredError):
            await house.resolve(policy=KeyPolicy.USER_KEY_PREFERRED, provider=provider)
    await house.platform_keys.put(KeyService.GATEWAY, "gw-team-000001", base_url=GATEWAY_URL)
    await house.note_usage([refused(KeyService.GATEWAY, "gw-team-000001")])
    await exhausted(house, policy=KeyPolicy.USER_KEY_PREFERRED)


# -- marks --------------------------------------------------------------------------------------------------


async def test_a_rate_limited_key_rests_and_the_others_take_turns(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, *POOL)
    await house.note_usage([limited(KeyService.OPENAI, POOL[1], 30)])
    assert [await lent(house) for _ in range(4)] == [POOL[0], POOL[2], POOL[0], POOL[2]]


async def test_a_rested_key_takes_its_turn_again(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0], written_at=soon(-100))
    await house.note_usage([limited(KeyService.OPENAI, POOL[0], 30, finished_at=soon(-29))])
    assert (await exhausted(house)).retry_after_s
    await house.marks.clear(platform_id(KeyService.OPENAI, POOL[0]))
    await house.note_usage([limited(KeyService.OPENAI, POOL[0], 30, finished_at=soon(-31))])
    assert await lent(house) == POOL[0]
    assert len(await house.marks.marks()) == 1


@pytest.mark.parametrize(("said", "rests_s"), [(None, 5), (0, 5), (-3, 5), (12.5, 12.5), (1e9, 86_400)])
async def test_how_long_a_key_rests(house: House, said: float | None, rests_s: float) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    await house.note_usage([limited(KeyService.OPENAI, POOL[0], said)])
    refused = await exhausted(house)
    assert refused.retry_after_s is not None
    assert rests_s - 2 < refused.retry_after_s <= rests_s


async def test_a_refused_key_is_out_until_it_is_mended(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    await house.note_usage([refused(KeyService.OPENAI, POOL[0])])
    assert (await exhausted(house)).retry_after_s is None
    await house.note_usage([limited(KeyService.OPENAI, POOL[0], 1)])
    assert (await states(house)) == {"sk-…0001": PlatformKeyState.OUT}, "a late 429 does not bring it back"
    mended = await house.handlers.on_mend_platform_key(
        MendPlatformKey(credential_id=platform_id(KeyService.OPENAI, POOL[0]))
    )
    assert mended.state is PlatformKeyState.READY
    assert await lent(house) == POOL[0]


async def test_a_refused_key_is_out_until_ops_write_it_again(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    await house.note_usage([refused(KeyService.OPENAI, POOL[0])])
    await exhausted(house)
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    assert await lent(house) == POOL[0]
    assert await house.marks.marks() == ()
    await house.note_usage([limited(KeyService.OPENAI, POOL[0], 30)])
    assert (await exhausted(house)).retry_after_s, "what happens after the writing counts again"


async def test_the_order_of_two_words_in_one_batch_does_not_matter(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    said = [refused(KeyService.OPENAI, POOL[0]), limited(KeyService.OPENAI, POOL[0], 60)]
    for batch in (said, said[::-1]):
        await house.marks.clear(platform_id(KeyService.OPENAI, POOL[0]))
        await house.note_usage(batch)
        assert (await states(house)) == {"sk-…0001": PlatformKeyState.OUT}


async def test_an_unmarked_pool_is_not_touched_by_other_keys_marks(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    await house.platform_keys.put(KeyService.GROQ, POOL[0])
    await house.note_usage([refused(KeyService.GROQ, POOL[0])])
    assert await lent(house) == POOL[0]
    await exhausted(house, provider=KeyService.GROQ)


# -- who runs the platform ----------------------------------------------------------------------------------


async def test_the_pools_are_shown_without_their_keys(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, *POOL)
    await house.platform_keys.put(KeyService.GATEWAY, "gw-team-000001", base_url=GATEWAY_URL)
    at = soon(0)
    await house.note_usage(
        [
            limited(KeyService.OPENAI, POOL[0], 30, finished_at=at),
            refused(KeyService.OPENAI, POOL[1], finished_at=at),
        ]
    )
    listed = await house.handlers.on_list_platform_keys(ListPlatformKeys())
    assert not any(key in listed.model_dump_json() for key in (*POOL, "gw-team-000001"))
    first, second, third, team = listed.items
    assert first == PlatformKeyInfo(
        credential_id=platform_id(KeyService.OPENAI, POOL[0]),
        service=KeyService.OPENAI,
        hint="sk-…0001",
        state=PlatformKeyState.COOLING,
        until=at + timedelta(seconds=30),
        reason="provider_rate_limited",
        changed_at=at,
    )
    assert (second.state, second.reason, second.until) == ("out", "system_key_exhausted", None)
    assert (third.state, team.state, team.service) == ("ready", "ready", KeyService.GATEWAY)


async def test_looking_at_the_pools_takes_no_turn(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, *POOL)
    assert await lent(house) == POOL[0]
    await states(house)
    assert await lent(house) == POOL[1]


@pytest.mark.parametrize(
    "credential_id", ["platform:openai:371430a7b5bd", "platform:nowhere:371430a7b5bc", "request", "", "\x00"]
)
async def test_what_is_no_platform_key_is_not_mended(house: House, credential_id: str) -> None:
    await house.platform_keys.put(KeyService.OPENAI, POOL[0])
    with pytest.raises(NotFoundError):
        await house.handlers.on_mend_platform_key(MendPlatformKey(credential_id=credential_id))


async def test_a_pool_nobody_wrote_anything_of_has_no_keys(house: House) -> None:
    assert await house.platform_keys.pool(KeyService.XAI) == PlatformPool()
    assert await states(house) == {}
