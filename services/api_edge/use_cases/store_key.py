"""Store a key of the caller's: sealed here at once, kept by key_vault."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.api_edge.domain.identity import Caller
from services.api_edge.ports import KeyVault, Sealer
from shared.contracts.keys import SEALED_FOR, Credential, SealBinding, StoreKey
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
        binding = SealBinding(
            purpose="store",
            user_id=caller.user_id,
            service=new.service,
            expires_at=datetime.now(UTC) + SEALED_FOR,
            credential_id=str(credential_id),
            base_url=new.base_url,
        )
        command = StoreKey(
            credential_id=credential_id,
            user_id=caller.user_id,
            service=new.service,
            sealed=self._sealer.seal(new.key, binding),
            label=new.label,
            base_url=new.base_url,
        )
        return await self._key_vault.store(command)
