"""Resolving with a memory: what a warm one costs, and that no change is overlooked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from services.key_vault.domain.credentials import CredentialUse, Place
from shared.contracts.consent import ChangeUserSettings
from shared.contracts.keys import GetKeyStatus, RevokeKey, RevokeKeys, RewrapKeys, UpdateKey
from shared.kernel.errors import (
    ConsentRequiredError,
    DatabaseUnavailableError,
    InternalError,
    UserApiKeyInvalidError,
    UserApiKeyRequiredError,
    VaultUnavailableError,
)
from shared.kernel.names import CredentialStatus, KeyPolicy, KeyService
from shared.kernel.secret import SecretText
from tests.fakes.key_vault import InMemoryCipher
from tests.fakes.key_vault_house import KEY, House, replace_command
from tests.fakes.key_vault_store import InMemoryCredentialStore

pytestmark = pytest.mark.unit

REQUIRED = KeyPolicy.USER_KEY_REQUIRED


@pytest.fixture
def house() -> House:
    house = House()
    house.memory.turn_on()
    return house


async def _warm(house: House, **fields: Any) -> UUID:
    kept = await house.keep(**fields)
    user = fields.get("user_id", "ada")
    assert (await house.resolve(user_id=user))[0].credential_id == str(kept.id)
    house.store.calls = house.cipher.calls = 0
    return kept.id


async def test_a_warm_resolve_asks_neither_store_nor_cipher(house: House) -> None:
    await _warm(house)
    for service in (KeyService.OPENAI, KeyService.OPENAI):
        assert (await house.resolve(provider=service, policy=REQUIRED))[1] == KEY
    with pytest.raises(UserApiKeyRequiredError):
        await house.resolve(provider=KeyService.GROQ, policy=REQUIRED)
    assert (house.store.calls, house.cipher.calls) == (0, 0)


async def test_one_users_keys_are_never_anothers(house: House) -> None:
    await _warm(house, key="sk-of-ada-000001")
    await _warm(house, key="sk-of-bob-000001", user_id="bob")
    for _ in range(2):
        assert (await house.resolve())[1] == "sk-of-ada-000001"
        assert (await house.resolve(user_id="bob"))[1] == "sk-of-bob-000001"
        with pytest.raises(UserApiKeyRequiredError):
            await house.resolve(user_id="eve", policy=REQUIRED)


# -- its own writes ------------------------------------------------------------------------------------------


async def _refuses(house: House) -> None:
    with pytest.raises(UserApiKeyRequiredError):
        await house.resolve(policy=REQUIRED)


async def test_a_revoked_key_is_used_no_more(house: House) -> None:
    credential_id = await _warm(house)
    await house.handlers.on_revoke_key(RevokeKey(user_id="ada", credential_id=credential_id))
    await _refuses(house)


async def test_nor_when_all_were_revoked(house: House) -> None:
    await _warm(house)
    await house.handlers.on_revoke_keys(RevokeKeys(user_id="ada", service=KeyService.OPENAI))
    await _refuses(house)


async def test_nor_an_inactive_one(house: House) -> None:
    credential_id = await _warm(house)
    update = UpdateKey(user_id="ada", credential_id=credential_id, status=CredentialStatus.INACTIVE)
    await house.handlers.on_update_key(update)
    await _refuses(house)


async def test_a_replaced_key_is_used_at_once(house: House) -> None:
    credential_id = await _warm(house)
    command = replace_command(house.pair.public_key, credential_id, "sk-the-second-0002")
    await house.handlers.on_replace_key(command)
    resolved, key = await house.resolve()
    assert (key, resolved.credential_version) == ("sk-the-second-0002", 2)


async def test_a_newer_key_is_used_at_once(house: House) -> None:
    await _warm(house)
    await house.keep("sk-a-newer-one-0002")
    assert (await house.resolve())[1] == "sk-a-newer-one-0002"


async def test_a_first_key_is_used_at_once(house: House) -> None:
    await _refuses(house)
    await house.keep()
    assert (await house.resolve(policy=REQUIRED))[1] == KEY


async def test_consent_withdrawn_holds_at_once(house: House) -> None:
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    await house.resolve()
    await house.handlers.on_change_settings(ChangeUserSettings(user_id="ada", allow_platform_fallback=False))
    with pytest.raises(ConsentRequiredError):
        await house.resolve()


async def test_a_change_that_failed_may_have_happened(house: House) -> None:
    credential_id = await _warm(house)
    house.store.loses_answers = True
    with pytest.raises(DatabaseUnavailableError):
        await house.handlers.on_revoke_key(RevokeKey(user_id="ada", credential_id=credential_id))
    assert house.memory.own("ada") is None


async def test_what_runs_find_is_no_reason_to_forget(house: House) -> None:
    credential_id = await _warm(house)
    stored = (await house.store.all_of("ada"))[0]
    await house.store.note_uses(
        [CredentialUse(credential_id, 1, CredentialStatus.INVALID, stored.created_at)]
    )
    assert house.memory.own("ada")


# -- races ---------------------------------------------------------------------------------------------------


class SlowStore(InMemoryCredentialStore):
    """What it read, it hands over only after `meanwhile`."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def own_keys(self, *args: Any) -> Any:
        found = await super().own_keys(*args)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found


async def test_what_was_read_before_a_revocation_is_not_remembered_after_it() -> None:
    store = SlowStore()
    house = House(store=store)
    house.memory.turn_on()
    kept = await house.keep()
    revoke = RevokeKey(user_id="ada", credential_id=kept.id)
    store.meanwhile = lambda: house.handlers.on_revoke_key(revoke)
    await house.resolve()
    await _refuses(house)


class SlowCipher(InMemoryCipher):
    """What it decrypted, it hands over only after `meanwhile`."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def decrypt(self, ciphertext: str, place: Place) -> SecretText:
        key = await super().decrypt(ciphertext, place)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return key


async def test_a_key_revoked_while_vault_took_its_time_is_not_handed_out() -> None:
    cipher = SlowCipher()
    house = House(cipher=cipher)
    kept = await house.keep()
    revoke = RevokeKey(user_id="ada", credential_id=kept.id)
    cipher.meanwhile = lambda: house.handlers.on_revoke_key(revoke)
    with pytest.raises(UserApiKeyInvalidError) as refused:
        await house.resolve()
    assert refused.value.detail == "revoked"


async def test_one_replaced_meanwhile_goes_on_with_the_old_key() -> None:
    cipher = SlowCipher()
    house = House(cipher=cipher)
    house.memory.turn_on()
    kept = await house.keep()
    command = replace_command(house.pair.public_key, kept.id, "sk-the-second-0002")
    cipher.meanwhile = lambda: house.handlers.on_replace_key(command)
    assert (await house.resolve())[1] == KEY
    assert (await house.resolve())[1] == "sk-the-second-0002"


async def test_many_users_at_once(house: House) -> None:
    users = [f"user-{number}" for number in range(50)]
    await asyncio.gather(*(house.keep(f"sk-of-{user}-0001", user_id=user) for user in users))
    for _ in range(2):
        answers = await asyncio.gather(*(house.resolve(user_id=user) for user in users))
        assert [key for _, key in answers] == [f"sk-of-{user}-0001" for user in users]


# -- rotation ------------------------------------------------------------------------------------------------


async def test_another_replicas_rewrap_is_no_trouble(house: House) -> None:
    """It is not told on the bus: the row has what is remembered no more, and Vault refuses it already."""
    first = await house.keep("sk-the-first-0001")
    await _warm(house, key="sk-the-second-0002")
    other = House(store=house.store, cipher=house.cipher)
    house.cipher.rotate()
    await other.handlers.on_rewrap_keys(RewrapKeys())
    house.cipher.version_min = 2
    resolved, key = await house.resolve(excluding=[(await house.resolve())[0].credential_id])
    assert (key, resolved.credential_id) == ("sk-the-first-0001", str(first.id))


async def test_what_really_does_not_decrypt_is_our_defect(house: House) -> None:
    await _warm(house)
    [stored] = await house.store.all_of("ada")
    house.memory.forget_all()
    house.cipher.rotate()
    house.cipher.version_min = 2
    with capture_logs() as logs, pytest.raises(InternalError):
        await house.resolve()
    told = [line["credential_id"] for line in logs if line["event"] == "a stored credential does not decrypt"]
    assert told == [str(stored.credential_id)]


# -- status --------------------------------------------------------------------------------------------------


async def test_the_status_tells_of_the_memory(house: House) -> None:
    query = GetKeyStatus(user_id="ada")
    cold = await house.handlers.on_get_status(query)
    assert (cold.cache_age_s, cold.cache_size) == (None, 0)
    await _warm(house)
    warm = await house.handlers.on_get_status(query)
    assert warm.cache_age_s is not None
    assert 0 <= warm.cache_age_s < 5
    assert warm.cache_size == 1


async def test_off_every_resolve_asks(house: House) -> None:
    await _warm(house)
    house.memory.turn_off()
    house.cipher.fails = VaultUnavailableError()
    with pytest.raises(VaultUnavailableError):
        await house.resolve()
