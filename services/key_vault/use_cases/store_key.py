"""Store a key. One that the user has already is the credential that is there."""

from services.key_vault.domain.credentials import CredentialChange, NewCredential, StoredCredential
from services.key_vault.domain.entry import check_base_url, check_label
from services.key_vault.ports import CredentialStore, KeyEvents
from services.key_vault.use_cases.describe import describe, key_stored
from services.key_vault.use_cases.entering import Entering
from shared.contracts.keys import Credential, StoreKey


class StoreKeyUseCase:
    def __init__(self, *, entering: Entering, store: CredentialStore, key_events: KeyEvents) -> None:
        self._entering = entering
        self._store = store
        self._key_events = key_events

    async def __call__(self, command: StoreKey) -> Credential:
        check_label(command.label)
        check_base_url(command.service, command.base_url)
        new = await self._entering(command, version=1, label=command.label)
        stored = await self._as_said_now(await self._store.add(new), new)
        await self._key_events.tell(key_stored(stored))
        await self._entering.keep_up(command, new, stored)
        return describe(stored)

    async def _as_said_now(self, stored: StoredCredential, new: NewCredential) -> StoredCredential:
        """A key entered once more is wanted, and its provider has been asked once more."""
        if stored.place == new.place or stored.status is new.status:
            return stored
        place, change = stored.place, CredentialChange(status=new.status)
        return await self._store.update(place.user_id, place.credential_id, change) or stored
