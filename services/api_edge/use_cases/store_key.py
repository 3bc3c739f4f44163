"""Store a key of the caller's: sealed here at once, kept by key_vault."""

from dataclasses import dataclass

from services.api_edge.domain.identity import Caller
from services.api_edge.ports import KeyVault, Sealer
from services.api_edge.use_cases.seal_key import seal_key
from shared.contracts.keys import Credential, StoreKey
from shared.kernel.ids import new_id
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText


@dataclass(frozen=True, slots=True)
class NewKey:
    service: KeyService
    key: SecretText
    label: str | None
    base_url: str | None


class StoreKeyUseCase:
    def __init__(self, *, sealer: Sealer, key_vault: KeyVault) -> None:
        self._sealer = sealer
        self._key_vault = key_vault

    async def __call__(self, caller: Caller, new: NewKey) -> Credential:
        """Raise VaultUnavailableError, or what key_vault answers."""
        credential_id = new_id()
        sealed = seal_key(
            self._sealer,
            new.key,
            "store",
            user_id=caller.user_id,
            service=new.service,
            base_url=new.base_url,
            credential_id=credential_id,
        )
        command = StoreKey(
            credential_id=credential_id,
            user_id=caller.user_id,
            service=new.service,
            sealed=sealed,
            label=new.label,
            base_url=new.base_url,
        )
        return await self._key_vault.store(command)
