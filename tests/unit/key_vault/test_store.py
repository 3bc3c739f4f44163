"""Storing, listing and revoking."""

from typing import Any

import pytest

from services.key_vault.domain.credentials import CREDENTIALS_PER_USER_MAX
from shared.contracts.keys import ListKeys, RevokeKey
from shared.kernel.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PlatformError,
    UserApiKeyRequiredError,
    VaultUnavailableError,
)
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService
from shared.runtime.sealing import KeyPair
from tests.fakes.key_vault_house import GATEWAY_URL, KEY, House, soon, store_command

pytestmark = pytest.mark.unit


async def test_a_stored_key_shows_its_ends_only(house: House) -> None:
    kept = await house.keep(KEY, label="laptop")
    assert (kept.hint, kept.label, kept.status, kept.service) == (
        "sk-…WXYZ",
        "laptop",
        "active",
        KeyService.OPENAI,
    )
    assert KEY not in kept.model_dump_json()


async def test_the_same_command_twice_is_one_credential(house: House) -> None:
    command = store_command(house.pair.public_key)
    once = await house.handlers.on_store_key(command)
    assert await house.handlers.on_store_key(command) == once
    assert len(await house.store.all_of("ada")) == 1


async def test_the_same_key_again_is_the_credential_already_there(house: House) -> None:
    kept = await house.keep(KEY)
    again = await house.keep(KEY, label="other name")
    assert again == kept


async def test_the_same_key_of_another_user_service_or_address_is_another_credential(house: House) -> None:
    kept = [
        await house.keep(KEY),
        await house.keep(KEY, user_id="bob"),
        await house.keep(KEY, service=KeyService.GROQ),
        await house.keep(KEY, base_url=GATEWAY_URL),
    ]
    assert len({credential.id for credential in kept}) == len(kept)


async def test_an_id_that_is_taken_by_another_key_is_a_conflict(house: House) -> None:
    kept = await house.keep(KEY)
    with pytest.raises(ConflictError):
        await house.keep("sk-another-000001", credential_id=kept.id)
    with pytest.raises(ConflictError):
        await house.keep(KEY, credential_id=kept.id, user_id="bob")


async def test_a_user_keeps_a_hundred_keys_and_no_more(house: House) -> None:
    for number in range(CREDENTIALS_PER_USER_MAX):
        await house.keep(f"sk-number-{number:06}")
    with pytest.raises(ConflictError):
        await house.keep("sk-one-too-many")
    await house.keep("sk-number-000000")
    await house.keep("sk-one-too-many", user_id="bob")


@pytest.mark.parametrize("key", ["", "sk x", "sk-x\n", "sk-\x00", "clé-0123456789", "x" * 8193])
async def test_nonsense_is_refused_without_an_echo(house: House, key: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await house.keep(key)
    assert not key or key not in repr(refused.value) + str(refused.value.__context__)
    assert await house.store.all_of("ada") == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "eve"},
        {"service": KeyService.GROQ},
        {"credential_id": new_id()},
        {"base_url": "https://evil.example"},
    ],
)
async def test_a_key_sealed_for_something_else_is_refused(house: House, changed: dict[str, object]) -> None:
    command = store_command(house.pair.public_key).model_copy(update=changed)
    with pytest.raises(InvalidRequestError):
        await house.handlers.on_store_key(command)


async def test_a_key_that_was_not_sealed_to_key_vault_is_refused(house: House) -> None:
    foreign = store_command(KeyPair.generate().public_key)
    broken = foreign.model_copy(update={"sealed": house.sealed_nonsense()})
    late = foreign.sealed.model_copy(update={"expires_at": soon(-1)})
    for command in (foreign, broken, foreign.model_copy(update={"sealed": late})):
        with pytest.raises(InvalidRequestError):
            await house.handlers.on_store_key(command)


@pytest.mark.parametrize(
    "fields",
    [
        {"service": KeyService.GATEWAY},
        {"base_url": "http://gateway.example"},
        {"label": "two\nlines"},
        {"user_id": "nul\x00"},
    ],
)
async def test_what_cannot_be_kept_is_refused(house: House, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await house.keep(**fields)


async def test_keys_are_listed_newest_first_and_to_their_owner(house: House) -> None:
    first = await house.keep("sk-first-000001")
    second = await house.keep("sk-second-000002")
    await house.keep("sk-bobs-000003", user_id="bob")
    listed = await house.handlers.on_list_keys(ListKeys(user_id="ada"))
    assert listed.items == (second, first)


async def test_a_revoked_key_is_gone(house: House) -> None:
    kept = await house.keep()
    revoke = RevokeKey(user_id="ada", credential_id=kept.id)
    assert (await house.handlers.on_revoke_key(revoke)).credential_ids == (kept.id,)
    with pytest.raises(UserApiKeyRequiredError):
        await house.resolve(policy=KeyPolicy.USER_KEY_REQUIRED)
    with pytest.raises(NotFoundError):
        await house.handlers.on_revoke_key(revoke)


async def test_nobody_revokes_another_users_key(house: House) -> None:
    kept = await house.keep()
    with pytest.raises(NotFoundError):
        await house.handlers.on_revoke_key(RevokeKey(user_id="eve", credential_id=kept.id))
    assert (await house.resolve())[1] == KEY


@pytest.mark.parametrize("error", [VaultUnavailableError()])
async def test_nothing_is_kept_without_the_cipher(house: House, error: PlatformError) -> None:
    house.cipher.fails = error
    with pytest.raises(type(error)):
        await house.keep()
    assert await house.store.all_of("ada") == ()
