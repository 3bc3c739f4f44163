"""Change what is not the key: label, order, status."""

from services.key_vault.domain.credentials import CredentialChange
from services.key_vault.domain.entry import check_label, check_label_of
from services.key_vault.ports import CredentialStore, KeyEvents
from services.key_vault.use_cases.describe import describe, key_stored
from shared.contracts.keys import Credential, UpdateKey
from shared.kernel.errors import NotFoundError


class UpdateKeyUseCase:
    def __init__(self, *, store: CredentialStore, key_events: KeyEvents) -> None:
        self._store = store
        self._key_events = key_events

    async def __call__(self, command: UpdateKey) -> Credential:
        check_label(command.label)
        if command.label:
            await self._check_is_not_the_key(command, command.label)
        change = CredentialChange(command.label, command.position, command.status, command.status_of_version)
        stored = await self._store.update(command.user_id, command.credential_id, change)
        if stored is None:
            raise NotFoundError("no such key")
        await self._key_events.tell(key_stored(stored))
        return describe(stored)

    async def _check_is_not_the_key(self, command: UpdateKey, label: str) -> None:
        if stored := await self._store.find(command.user_id, command.credential_id):
            check_label_of(label, stored.hint)
