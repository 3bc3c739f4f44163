"""Replace a credential's key: its version goes up by one, runs that hold the old key go on with it."""

from typing import Final

from services.key_vault.domain.credentials import StoredCredential
from services.key_vault.domain.entry import check_base_url
from services.key_vault.ports import CredentialStore, KeyEvents
from services.key_vault.use_cases.describe import describe, key_stored
from services.key_vault.use_cases.entering import Entering
from shared.contracts.keys import Credential, ReplaceKey
from shared.kernel.errors import ConflictError, InvalidRequestError, NotFoundError

_TRIES: Final = 3
"""Of two at once the second comes after the first, as a version of its own."""


class ReplaceKeyUseCase:
    def __init__(self, *, entering: Entering, store: CredentialStore, key_events: KeyEvents) -> None:
        self._entering = entering
        self._store = store
        self._key_events = key_events

    async def __call__(self, command: ReplaceKey) -> Credential:
        check_base_url(command.service, command.base_url)
        for _ in range(_TRIES):
            current = await self._current(command)
            version = current.place.version + 1
            new = await self._entering(command, version=version, label=current.label)
            if stored := await self._store.replace(new):
                await self._key_events.tell(key_stored(stored))
                await self._entering.keep_up(command, new, stored)
                return describe(stored)
        raise ConflictError("the credential is being replaced by others, too")

    async def _current(self, command: ReplaceKey) -> StoredCredential:
        current = await self._store.find(command.user_id, command.credential_id)
        if current is None:
            raise NotFoundError("no such key")
        if current.place.service is not command.service:
            raise InvalidRequestError(f"the credential is for {current.place.service}")
        return current
