"""Resolving, beyond the order: what is sealed to whom, and parts that are away."""

import pytest

from shared.contracts.sealed import SealBinding
from shared.kernel.errors import (
    DatabaseUnavailableError,
    InternalError,
    InvalidRequestError,
    PlatformError,
    UserApiKeyInvalidError,
    UserApiKeyRequiredError,
    VaultUnavailableError,
)
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, KeySource
from shared.kernel.secret import SecretText
from shared.runtime.sealing import KeyPair, seal
from tests.fakes.key_vault_house import GATEWAY_URL, KEY, House, Worker, request_key, soon

pytestmark = pytest.mark.unit

_OWN_POLICIES = (KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED)
_PLATFORM_POLICIES = (KeyPolicy.PLATFORM_ONLY, KeyPolicy.SYSTEM)


async def test_the_users_key_comes_back_to_the_worker_that_asked(house: House) -> None:
    kept = await house.keep(KEY)
    resolved, key = await house.resolve()
    assert key == KEY
    assert (resolved.credential_id, resolved.source) == (str(kept.id), KeySource.USER)
    assert (resolved.credential_version, resolved.would_refuse_policy) == (1, None)
    assert KEY not in resolved.model_dump_json()


async def test_a_users_key_costs_one_query_and_one_decrypt(house: House) -> None:
    await house.keep(KEY)
    house.store.calls = house.cipher.calls = 0
    await house.resolve()
    assert (house.store.calls, house.cipher.calls, house.platform_keys.calls) == (1, 1, 0)


async def test_a_request_key_costs_neither(house: House) -> None:
    run_id = new_id()
    sent = request_key(house.pair.public_key, run_id)
    resolved, key = await house.resolve(run_id=run_id, request_key=sent)
    assert (key, resolved.credential_id, resolved.source) == (KEY, "request", KeySource.REQUEST)
    assert (house.store.calls, house.cipher.calls, house.platform_keys.calls) == (0, 0, 0)


async def test_a_further_key_of_the_request_is_next_and_the_stored_one_after_it(house: House) -> None:
    kept = await house.keep("sk-stored-key-00001")
    run_id = new_id()
    first = request_key(house.pair.public_key, run_id)
    second = request_key(house.pair.public_key, run_id, "sk-or-second-0001", service=KeyService.OPENROUTER)
    asked = {"run_id": run_id, "request_key": first, "further_keys": (second,)}
    assert (await house.resolve(**asked))[1] == KEY
    resolved, key = await house.resolve(**asked, excluding=("request",))
    assert (key, resolved.credential_id, resolved.source) == (
        "sk-or-second-0001",
        "request:2",
        KeySource.REQUEST,
    )
    assert resolved.service is KeyService.OPENROUTER
    resolved, _ = await house.resolve(**asked, excluding=("request", "request:2"))
    assert resolved.credential_id == str(kept.id)


async def test_a_further_key_whose_time_is_over_leads_to_stored_ones_and_not_to_the_platforms(
    house: House,
) -> None:
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    run_id = new_id()
    late = request_key(house.pair.public_key, run_id, "sk-or-late-000001", service=KeyService.OPENROUTER)
    late = late.model_copy(update={"sealed": late.sealed.model_copy(update={"expires_at": soon(-1)})})
    first = request_key(house.pair.public_key, run_id)
    asked = {"run_id": run_id, "request_key": first, "further_keys": (late,), "excluding": ("request",)}
    with pytest.raises(UserApiKeyInvalidError):
        await house.resolve(**asked)
    kept = await house.keep("sk-stored-key-00001")
    assert (await house.resolve(**asked))[0].credential_id == str(kept.id)


async def test_the_newest_key_is_used_and_the_older_one_when_it_failed(house: House) -> None:
    older = await house.keep("sk-older-key-000001")
    newer = await house.keep("sk-newer-key-000002")
    assert (await house.resolve())[1] == "sk-newer-key-000002"
    resolved, key = await house.resolve(excluding=(str(newer.id),))
    assert (resolved.credential_id, key) == (str(older.id), "sk-older-key-000001")


async def test_a_gateway_serves_any_provider_at_its_own_address(house: House) -> None:
    await house.keep("sk-gateway-000001", service=KeyService.GATEWAY, base_url=GATEWAY_URL)
    for provider in KeyService:
        resolved, _ = await house.resolve(provider=provider)
        assert (resolved.source, resolved.service) == (KeySource.USER_GATEWAY, KeyService.GATEWAY)
        assert resolved.base_url == GATEWAY_URL


@pytest.mark.parametrize(
    "instead",
    [
        {"run_id": new_id()},
        {"attempt": 2},
        {"user_id": "eve"},
        {"credential_id": "request"},
        {"service": KeyService.GROQ},
        {"base_url": "https://evil.example"},
        {"expires_at": soon(3600)},
        {"purpose": "store"},
    ],
)
async def test_a_sealed_answer_opens_for_nothing_else(house: House, instead: dict[str, object]) -> None:
    await house.keep()
    query = house.worker.asks()
    resolved = await house.handlers.on_resolve_key(query)
    with pytest.raises(InvalidRequestError):
        house.worker.opens(resolved, query, **instead)
    with pytest.raises(InvalidRequestError):
        Worker().opens(resolved, query)


async def test_an_answer_is_good_for_half_a_minute_at_most(house: House) -> None:
    await house.keep()
    resolved, _ = await house.resolve()
    assert resolved.sealed.expires_at <= soon(30)


@pytest.mark.parametrize("public_key", ["", "AAAA", "not base64 at all", "A" * 43 + "=", "é"])
async def test_no_key_for_a_worker_without_a_public_key(house: House, public_key: str) -> None:
    await house.keep()
    with pytest.raises(InvalidRequestError):
        await house.resolve(worker_public_key=public_key)


# -- request keys -------------------------------------------------------------------------------------------


async def _refused(house: House, **fields: object) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        await house.resolve(**fields)
    assert (house.store.calls, house.platform_keys.calls) == (0, 0), "no other key instead"
    return str(refused.value)


async def test_a_request_key_of_another_run_or_user_is_refused(house: House) -> None:
    run_id = new_id()
    sent = request_key(house.pair.public_key, run_id)
    await _refused(house, request_key=sent)
    await _refused(house, run_id=run_id, user_id="eve", request_key=sent)


async def test_a_request_key_with_another_address_is_refused(house: House) -> None:
    run_id = new_id()
    sent = request_key(house.pair.public_key, run_id)
    moved = sent.model_copy(update={"base_url": "https://evil.example"})
    await _refused(house, run_id=run_id, request_key=moved)


async def test_a_request_key_sealed_to_another_holder_or_too_late_is_refused(house: House) -> None:
    run_id = new_id()
    await _refused(house, run_id=run_id, request_key=request_key(KeyPair.generate().public_key, run_id))
    binding = SealBinding(
        purpose="request", run_id=run_id, user_id="ada", service=KeyService.OPENAI, expires_at=soon(-1)
    )
    late = seal(SecretText(KEY), house.pair.public_key, binding)
    fresh = request_key(house.pair.public_key, run_id)
    await _refused(house, run_id=run_id, request_key=fresh.model_copy(update={"sealed": late}))


async def test_a_sealed_key_to_store_is_no_request_key(house: House) -> None:
    run_id = new_id()
    binding = SealBinding(purpose="store", user_id="ada", service=KeyService.OPENAI, expires_at=soon())
    sealed = seal(SecretText(KEY), house.pair.public_key, binding)
    sent = request_key(house.pair.public_key, run_id).model_copy(update={"sealed": sealed})
    await _refused(house, run_id=run_id, request_key=sent)


async def test_a_request_key_is_checked_like_any_other(house: House) -> None:
    run_id = new_id()
    nonsense = request_key(house.pair.public_key, run_id, key="sk-\r\nX-Evil: 1")
    assert "Evil" not in await _refused(house, run_id=run_id, request_key=nonsense)
    lost = request_key(house.pair.public_key, run_id, service=KeyService.GATEWAY)
    await _refused(house, run_id=run_id, request_key=lost)


async def test_a_request_key_that_cannot_serve_is_refused_not_passed_over(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    run_id = new_id()
    sent = request_key(house.pair.public_key, run_id, service=KeyService.GROQ)
    await _refused(house, run_id=run_id, request_key=sent)


@pytest.mark.parametrize("policy", _PLATFORM_POLICIES)
async def test_the_users_keys_are_never_used_for_a_platform_flow(house: House, policy: KeyPolicy) -> None:
    await house.keep()
    house.store.calls = house.cipher.calls = 0
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    run_id = new_id()
    sent = request_key(house.pair.public_key, run_id)
    resolved, key = await house.resolve(policy=policy, run_id=run_id, request_key=sent)
    assert (key, resolved.source, resolved.base_url) == ("sk-platform-000001", KeySource.PLATFORM, None)
    assert (house.store.calls, house.cipher.calls) == (0, 0)


async def test_a_failed_own_key_is_not_a_missing_one(house: House) -> None:
    failed = str(new_id())
    required = {"policy": KeyPolicy.USER_KEY_REQUIRED}
    with pytest.raises(UserApiKeyRequiredError):
        await house.resolve(**required)
    with pytest.raises(UserApiKeyInvalidError):
        await house.resolve(**required, excluding=(failed,))
    with pytest.raises(UserApiKeyInvalidError):
        await house.resolve(**required, excluding=("request",))
    with pytest.raises(UserApiKeyRequiredError):
        await house.resolve(**required, excluding=("platform:openai:371430a7b5bc",))


# -- parts that are away: never the platform's key instead ---------------------------------------------------


@pytest.mark.parametrize("policy", _OWN_POLICIES)
@pytest.mark.parametrize("error", [VaultUnavailableError(), InternalError()])
async def test_without_the_cipher_no_fallback(house: House, policy: KeyPolicy, error: PlatformError) -> None:
    await house.keep()
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    house.cipher.fails = error
    with pytest.raises(type(error)):
        await house.resolve(policy=policy)
    assert house.platform_keys.calls == 0


@pytest.mark.parametrize("policy", _OWN_POLICIES)
async def test_without_the_store_no_fallback(house: House, policy: KeyPolicy) -> None:
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    house.store.fails = DatabaseUnavailableError()
    with pytest.raises(DatabaseUnavailableError):
        await house.resolve(policy=policy)
    assert house.platform_keys.calls == 0


@pytest.mark.parametrize("policy", [*_PLATFORM_POLICIES, KeyPolicy.USER_KEY_PREFERRED])
async def test_platform_keys_out_of_reach_are_not_exhausted(house: House, policy: KeyPolicy) -> None:
    house.platform_keys.fails = VaultUnavailableError()
    with pytest.raises(VaultUnavailableError):
        await house.resolve(policy=policy)


@pytest.mark.parametrize("policy", [*_PLATFORM_POLICIES, KeyPolicy.USER_KEY_PREFERRED])
async def test_a_platform_key_of_which_nothing_is_known_is_not_used(house: House, policy: KeyPolicy) -> None:
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    house.marks.fails = DatabaseUnavailableError()
    with pytest.raises(DatabaseUnavailableError):
        await house.resolve(policy=policy)
