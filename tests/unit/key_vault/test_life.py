"""A credential's life after it was stored: replaced, changed, revoked; and what is told of it."""

import asyncio
from typing import Any

import pytest

from shared.contracts.consent import ChangeUserSettings, GetUserSettings
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.keys import Credential, GetKeyStatus, ListKeys, RevokeKey, RevokeKeys, UpdateKey
from shared.kernel.errors import (
    ConflictError,
    DatabaseUnavailableError,
    InvalidRequestError,
    NotFoundError,
    UserApiKeyRequiredError,
    VaultUnavailableError,
)
from shared.kernel.ids import new_id
from shared.kernel.names import CredentialStatus, KeyPolicy, KeyService
from tests.fakes.key_vault_house import GATEWAY_URL, KEY, House, replace_command

pytestmark = pytest.mark.unit

SECOND = "sk-the-second-key-0002"


async def _replace(house: House, kept: Credential, key: str = SECOND, **fields: Any) -> Credential:
    command = replace_command(house.pair.public_key, kept.id, key, **fields)
    return await house.handlers.on_replace_key(command)


async def _update(house: House, kept: Credential, **changes: Any) -> Credential:
    return await house.handlers.on_update_key(UpdateKey(user_id="ada", credential_id=kept.id, **changes))


# -- storing -------------------------------------------------------------------------------------------------


async def test_a_key_is_stored_with_what_its_provider_said(house: House) -> None:
    kept = await house.keep(status=CredentialStatus.NO_QUOTA)
    assert (kept.status, kept.version, kept.position, kept.last_used_at) == ("no_quota", 1, 0, None)


@pytest.mark.parametrize("before", [CredentialStatus.INVALID, CredentialStatus.INACTIVE])
async def test_a_key_entered_once_more_is_as_it_is_said_now(house: House, before: CredentialStatus) -> None:
    kept = await house.keep(status=before)
    again = await house.keep()
    assert (again.id, again.status) == (kept.id, CredentialStatus.ACTIVE)
    assert (await house.resolve())[1] == KEY


async def test_a_command_that_comes_twice_changes_nothing_the_second_time(house: House) -> None:
    kept = await house.keep()
    await _update(house, kept, status=CredentialStatus.INACTIVE)
    again = await house.keep(credential_id=kept.id)
    assert again.status is CredentialStatus.INACTIVE


# -- replacing -----------------------------------------------------------------------------------------------


async def test_a_replaced_key_keeps_its_id_and_is_a_version_further(house: House) -> None:
    kept = await house.keep(label="laptop")
    replaced = await _replace(house, kept)
    assert (replaced.id, replaced.version, replaced.label) == (kept.id, 2, "laptop")
    assert (replaced.hint, replaced.created_at) == ("sk-…0002", kept.created_at)
    resolved, key = await house.resolve()
    assert (key, resolved.credential_version) == (SECOND, 2)
    assert SECOND not in replaced.model_dump_json()


async def test_replacing_takes_the_new_address_and_status(house: House) -> None:
    kept = await house.keep(service=KeyService.GATEWAY, base_url=GATEWAY_URL)
    other = "https://other.example/v1"
    replaced = await _replace(
        house, kept, service=KeyService.GATEWAY, base_url=other, status=CredentialStatus.UNREACHABLE
    )
    assert (replaced.base_url, replaced.status) == (other, CredentialStatus.UNREACHABLE)
    assert (await house.resolve())[0].base_url == other


async def test_replacing_at_once_gives_each_a_version(house: House) -> None:
    kept = await house.keep()
    both = await asyncio.gather(_replace(house, kept, "sk-one-0001"), _replace(house, kept, "sk-two-0002"))
    assert {one.version for one in both} == {2, 3}


async def test_nothing_else_is_replaced(house: House) -> None:
    kept = await house.keep()
    await house.keep(SECOND)
    for error, fields in (
        (NotFoundError, {"user_id": "eve"}),
        (InvalidRequestError, {"service": KeyService.GROQ}),
        (InvalidRequestError, {"base_url": "http://plain.example"}),
        (InvalidRequestError, {"key": "no key"}),
        (ConflictError, {"key": SECOND}),
    ):
        with pytest.raises(error):
            await _replace(house, kept, **fields)
    with pytest.raises(NotFoundError):
        await _replace(house, kept.model_copy(update={"id": new_id()}))
    assert [one.version for one in await _listed(house)] == [1, 1]


@pytest.mark.parametrize("changed", [{"credential_id": new_id()}, {"base_url": GATEWAY_URL}])
async def test_a_key_sealed_for_another_place_replaces_nothing(house: House, changed: dict[str, Any]) -> None:
    kept = await house.keep()
    await house.keep("sk-another-0003", credential_id=changed.get("credential_id", new_id()))
    command = replace_command(house.pair.public_key, kept.id, SECOND).model_copy(update=changed)
    with pytest.raises(InvalidRequestError):
        await house.handlers.on_replace_key(command)


async def test_nothing_is_replaced_without_the_cipher(house: House) -> None:
    kept = await house.keep()
    house.cipher.fails = VaultUnavailableError()
    with pytest.raises(VaultUnavailableError):
        await _replace(house, kept)
    assert [one.version for one in await _listed(house)] == [1]


# -- changing ------------------------------------------------------------------------------------------------


async def _listed(house: House, user_id: str = "ada") -> tuple[Credential, ...]:
    return (await house.handlers.on_list_keys(ListKeys(user_id=user_id))).items


async def test_an_inactive_key_is_kept_and_not_used(house: House) -> None:
    kept = await house.keep()
    out = await _update(house, kept, status=CredentialStatus.INACTIVE)
    assert out.status_changed_at is not None
    assert await _listed(house) == (out,)
    with pytest.raises(UserApiKeyRequiredError):
        await house.resolve(policy=KeyPolicy.USER_KEY_REQUIRED)
    await _update(house, kept, status=CredentialStatus.ACTIVE)
    assert (await house.resolve())[1] == KEY


async def test_the_lower_position_is_tried_first(house: House) -> None:
    first = await house.keep("sk-the-first-0001")
    second = await house.keep("sk-the-second-0002")
    assert (await house.resolve())[1] == "sk-the-second-0002"
    await _update(house, second, position=1)
    assert (await house.resolve())[1] == "sk-the-first-0001"
    assert [one.id for one in await _listed(house)] == [first.id, second.id]


async def test_a_label_is_changed_and_removed(house: House) -> None:
    kept = await house.keep(label="laptop")
    assert (await _update(house, kept, label="desk")).label == "desk"
    assert (await _update(house, kept, position=2)).label == "desk"
    assert (await _update(house, kept, label="")).label is None
    with pytest.raises(InvalidRequestError):
        await _update(house, kept, label="mine: sk-0123456789abcdef")


async def test_a_label_does_not_show_its_key(house: House) -> None:
    odd = "odd.Key.without.shape-77"
    kept = await house.keep(key=odd)
    with pytest.raises(InvalidRequestError):
        await _update(house, kept, label=f"work:{odd}")
    for label in ("odd, -77", kept.hint, "odd …-77", "work"):
        assert (await _update(house, kept, label=label)).label == label
    short = await house.keep(key="x")
    assert (await _update(house, short, label="box …")).label == "box …"


async def test_only_its_owner_changes_a_key(house: House) -> None:
    kept = await house.keep()
    for user_id, credential_id in (("eve", kept.id), ("ada", new_id())):
        with pytest.raises(NotFoundError):
            await house.handlers.on_update_key(
                UpdateKey(user_id=user_id, credential_id=credential_id, label="mine")
            )


# -- revoking ------------------------------------------------------------------------------------------------


async def test_all_keys_or_a_services_are_revoked(house: House) -> None:
    openai = [await house.keep(f"sk-number-{n}-000") for n in range(2)]
    groq = await house.keep(service=KeyService.GROQ)
    others = await house.keep(user_id="bob")
    of_service = RevokeKeys(user_id="ada", service=KeyService.OPENAI)
    gone = await house.handlers.on_revoke_keys(of_service)
    assert set(gone.credential_ids) == {one.id for one in openai}
    assert (await house.handlers.on_revoke_keys(of_service)).credential_ids == ()
    assert await _listed(house) == (groq,)
    assert (await house.handlers.on_revoke_keys(RevokeKeys(user_id="ada"))).credential_ids == (groq.id,)
    assert await _listed(house, "bob") == (others,)


# -- consent -------------------------------------------------------------------------------------------------


async def test_consent_is_decided_and_shown(house: House) -> None:
    show = GetUserSettings(user_id="ada")
    default = await house.handlers.on_get_settings(show)
    assert (default.allow_platform_fallback, default.allow_gateway_fallback) == (True, False)
    assert (default.consent_id, default.decided_at) == ("default", None)
    nothing = await house.handlers.on_change_settings(ChangeUserSettings(user_id="ada"))
    assert nothing == default
    decided = await house.handlers.on_change_settings(
        ChangeUserSettings(user_id="ada", allow_gateway_fallback=True)
    )
    assert (decided.allow_platform_fallback, decided.allow_gateway_fallback) == (True, True)
    assert decided.consent_id != "default"
    assert decided.decided_at is not None
    assert await house.handlers.on_get_settings(show) == decided


# -- what is told --------------------------------------------------------------------------------------------


async def test_every_change_is_told_and_no_other(house: House) -> None:
    told = house.key_events.told
    kept = await house.keep()
    await _replace(house, kept)
    await _update(house, kept, status=CredentialStatus.INACTIVE)
    stored = {"user_id": "ada", "credential_id": kept.id, "service": KeyService.OPENAI}
    assert told == [
        KeyStored(**stored, version=1, status=CredentialStatus.ACTIVE),
        KeyStored(**stored, version=2, status=CredentialStatus.ACTIVE),
        KeyStored(**stored, version=2, status=CredentialStatus.INACTIVE),
    ]
    told.clear()
    await house.handlers.on_revoke_key(RevokeKey(user_id="ada", credential_id=kept.id))
    assert told == [KeyRevoked(user_id="ada", credential_id=kept.id)]
    told.clear()
    two = [await house.keep(f"sk-number-{n}-000") for n in range(2)]
    told.clear()
    await house.handlers.on_revoke_keys(RevokeKeys(user_id="ada"))
    assert {event.credential_id for event in told if isinstance(event, KeyRevoked)} == {one.id for one in two}
    told.clear()
    decided = await house.handlers.on_change_settings(
        ChangeUserSettings(user_id="ada", allow_platform_fallback=False)
    )
    assert told == [
        ConsentChanged(
            user_id="ada",
            consent_id=decided.consent_id,
            allow_platform_fallback=False,
            allow_gateway_fallback=False,
        )
    ]


async def _revoke_in_vain(house: House, kept: Credential) -> None:
    """First one of Ada's keys, then all of them."""
    with pytest.raises(DatabaseUnavailableError):
        await house.handlers.on_revoke_key(RevokeKey(user_id="ada", credential_id=kept.id))
    with pytest.raises(DatabaseUnavailableError):
        await house.handlers.on_revoke_keys(RevokeKeys(user_id="ada"))


async def test_a_revocation_whose_answer_is_lost_is_told(house: House) -> None:
    """A second try finds nothing: what it does not tell, nobody does."""
    one, *others = [await house.keep(f"sk-number-{n}-000") for n in range(3)]
    house.key_events.told.clear()
    house.store.loses_answers = True
    await _revoke_in_vain(house, one)
    told = {event.credential_id for event in house.key_events.told if isinstance(event, KeyRevoked)}
    assert told == {each.id for each in (one, *others)}


async def test_a_revocation_that_failed_is_not_told(house: House) -> None:
    """The key is there, and its owner's runs go on with it."""
    kept = await house.keep()
    house.key_events.told.clear()
    house.store.refuses = True
    await _revoke_in_vain(house, kept)
    assert house.key_events.told == []


async def test_what_was_refused_is_not_told(house: House) -> None:
    kept = await house.keep()
    house.key_events.told.clear()
    with pytest.raises(NotFoundError):
        await house.handlers.on_revoke_key(RevokeKey(user_id="eve", credential_id=kept.id))
    with pytest.raises(NotFoundError):
        await _replace(house, kept, user_id="eve")
    await house.handlers.on_revoke_keys(RevokeKeys(user_id="eve"))
    await house.handlers.on_change_settings(ChangeUserSettings(user_id="ada"))
    await house.handlers.on_get_status(GetKeyStatus(user_id="ada"))
    assert house.key_events.told == []


# -- whose ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_id", ["", "nul\x00", "x" * 129])
async def test_nobodys_keys_are_handled(house: House, user_id: str) -> None:
    handlers = house.handlers
    kept = await house.keep()
    for asked in (
        handlers.on_replace_key(
            replace_command(house.pair.public_key, kept.id).model_copy(update={"user_id": user_id})
        ),
        handlers.on_update_key(UpdateKey(user_id=user_id, credential_id=kept.id)),
        handlers.on_revoke_keys(RevokeKeys(user_id=user_id)),
        handlers.on_get_settings(GetUserSettings(user_id=user_id)),
        handlers.on_change_settings(ChangeUserSettings(user_id=user_id, allow_gateway_fallback=True)),
        handlers.on_get_status(GetKeyStatus(user_id=user_id)),
    ):
        with pytest.raises(InvalidRequestError):
            await asked
