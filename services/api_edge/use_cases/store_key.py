"""Store a key of the caller's: asked about at its provider, sealed here, kept by key_vault."""

from dataclasses import dataclass

from services.api_edge.domain.identity import Caller
from services.api_edge.domain.request_keys import SentKey
from services.api_edge.ports import KeyVault, Sealer
from services.api_edge.use_cases.check_key import CheckKey
from services.api_edge.use_cases.seal_key import seal_key
from shared.contracts.keys import Credential, StoreKey, UpdateKey
from shared.kernel.ids import new_id
from shared.kernel.names import CredentialStatus


@dataclass(frozen=True, slots=True)
class NewKey:
    entered: SentKey
    label: str | None = None
    position: int | None = None


class StoreKeyUseCase:
    def __init__(self, *, sealer: Sealer, key_vault: KeyVault, check_key: CheckKey) -> None:
        self._sealer = sealer
        self._key_vault = key_vault
        self._check_key = check_key

    async def __call__(self, caller: Caller, new: NewKey) -> Credential:
        """Return the credential; an equal key's, when the caller has it already.

        Raises KeyRefusedError, VaultUnavailableError, or what inference and key_vault answer. Then nothing
        is stored, or all but its position (entering it once more mends that).
        """
        verdict = await self._check_key.entered(caller, new.entered)
        stored = await self._key_vault.store(self._command(caller, new, verdict.status))
        change = _change(caller, new, stored)
        return stored if change is None else await self._key_vault.update(change)

    def _command(self, caller: Caller, new: NewKey, status: CredentialStatus) -> StoreKey:
        credential_id, entered = new_id(), new.entered
        sealed = seal_key(self._sealer, entered, "store", user_id=caller.user_id, credential_id=credential_id)
        return StoreKey(
            credential_id=credential_id,
            user_id=caller.user_id,
            service=entered.service,
            sealed=sealed,
            label=new.label,
            base_url=entered.base_url,
            status=status,
        )


def _change(caller: Caller, new: NewKey, stored: Credential) -> UpdateKey | None:
    """What is still to be written: the position, and the label of a key that was there already."""
    label = None if new.label in (None, stored.label) else new.label
    position = None if new.position in (None, stored.position) else new.position
    if label is None and position is None:
        return None
    return UpdateKey(credential_id=stored.id, user_id=caller.user_id, label=label, position=position)
