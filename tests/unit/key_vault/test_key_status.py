"""Whose keys a user's runs could use, by service."""

import asyncio

import pytest

from shared.contracts.consent import ChangeUserSettings
from shared.contracts.keys import GetKeyStatus, ServiceKeys, UpdateKey
from shared.kernel.errors import VaultUnavailableError
from shared.kernel.names import CredentialStatus, KeyService
from tests.fakes.key_vault_house import House

pytestmark = pytest.mark.unit


async def _of(house: House, service: KeyService) -> ServiceKeys:
    status = await house.handlers.on_get_status(GetKeyStatus(user_id="ada"))
    assert [one.service for one in status.services] == list(KeyService)
    return next(one for one in status.services if one.service is service)


async def test_the_status_tells_whose_keys_there_are(house: House) -> None:
    none = await _of(house, KeyService.OPENAI)
    assert (none.has_user_key, none.has_platform_key, none.user_statuses) == (False, False, ())
    kept = await house.keep(status=CredentialStatus.INVALID)
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    both = await _of(house, KeyService.OPENAI)
    assert (both.has_user_key, both.has_platform_key) == (True, True)
    assert both.user_statuses == (CredentialStatus.INVALID,)
    taken_out = UpdateKey(user_id="ada", credential_id=kept.id, status=CredentialStatus.INACTIVE)
    await house.handlers.on_update_key(taken_out)
    assert not (await _of(house, KeyService.OPENAI)).has_user_key
    other = await _of(house, KeyService.GROQ)
    assert (other.has_user_key, other.has_platform_key) == (False, False)


async def test_the_status_tells_of_consent(house: House) -> None:
    await house.handlers.on_change_settings(
        ChangeUserSettings(user_id="ada", allow_platform_fallback=False, allow_gateway_fallback=True)
    )
    status = await house.handlers.on_get_status(GetKeyStatus(user_id="ada"))
    assert (status.allow_platform_fallback, status.allow_gateway_fallback) == (False, True)


async def test_many_who_look_at_once_read_the_pools_once(house: House) -> None:
    query = GetKeyStatus(user_id="ada")
    for times in (1, 2):
        await asyncio.gather(*(house.handlers.on_get_status(query) for _ in range(50)))
        assert house.platform_keys.calls == times * len(KeyService)
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    assert (await _of(house, KeyService.OPENAI)).has_platform_key
    house.platform_keys.fails = VaultUnavailableError()
    for told in await asyncio.gather(
        *(house.handlers.on_get_status(query) for _ in range(3)), return_exceptions=True
    ):
        assert isinstance(told, VaultUnavailableError)
