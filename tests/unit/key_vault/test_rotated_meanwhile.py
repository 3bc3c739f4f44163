"""The master key is rotated while a key is on its way into the store."""

import pytest

from services.key_vault.domain.credentials import NewCredential, StoredCredential
from shared.contracts.keys import RewrapKeys
from tests.fakes.key_vault_house import KEY, House, replace_command
from tests.fakes.key_vault_store import InMemoryCredentialStore

pytestmark = pytest.mark.unit

SECOND = "sk-the-second-key-0002"


class RotatedMeanwhile(InMemoryCredentialStore):
    """So slow that the master key is rotated, and a whole rewrap ends, while a key is on its way in."""

    house: House
    told: tuple[int, int] | None = None

    async def add(self, new: NewCredential) -> StoredCredential:
        await self._rotated()
        return await super().add(new)

    async def replace(self, new: NewCredential) -> StoredCredential | None:
        await self._rotated()
        return await super().replace(new)

    async def _rotated(self) -> None:
        self.house.cipher.rotate()
        done = await self.house.handlers.on_rewrap_keys(RewrapKeys())
        self.told = done.remaining, done.key_version


async def test_a_key_on_its_way_in_is_under_the_newest_master_key() -> None:
    store = RotatedMeanwhile()
    house = store.house = House(store=store)
    kept = await house.keep()
    assert store.told == (0, 2)
    house.cipher.version_min = 2
    assert (await house.resolve())[1] == KEY
    await house.handlers.on_replace_key(replace_command(house.pair.public_key, kept.id, SECOND))
    assert store.told == (0, 3)
    house.cipher.version_min = 3
    assert (await house.resolve())[1] == SECOND
