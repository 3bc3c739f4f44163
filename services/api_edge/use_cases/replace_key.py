"""Put another key in the place of one of the caller's."""

from dataclasses import dataclass
from uuid import UUID

from services.api_edge.domain.entered_keys import check_not_shown
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.request_keys import SentKey
from services.api_edge.ports import KeyVault, Sealer
from services.api_edge.use_cases.check_key import CheckKey
from services.api_edge.use_cases.seal_key import seal_key
from shared.contracts.keys import Credential, ReplaceKey, UpdateKey
from shared.kernel.errors import NotFoundError
from shared.kernel.names import KeyService, KeyVerdict
from shared.kernel.secret import SecretText


@dataclass(frozen=True, slots=True)
class Replacement:
    """`keeps_base_url`: the credential's stays. `label` None stays, "" removes it."""

    credential_id: UUID
    key: SecretText
    base_url: str | None
    keeps_base_url: bool
    label: str | None


class ReplaceKeyUseCase:
    def __init__(self, *, sealer: Sealer, key_vault: KeyVault, check_key: CheckKey) -> None:
        self._sealer = sealer
        self._key_vault = key_vault
        self._check_key = check_key

    async def __call__(self, caller: Caller, new: Replacement) -> Credential:
        """Raise NotFoundError for a credential that is not the caller's, else as storing does."""
        found = await self._find(caller, new.credential_id)
        base_url = found.base_url if new.keeps_base_url else new.base_url
        if base_url is None and found.service is KeyService.GATEWAY:
            raise BadInputError("required", "baseUrl")
        check_not_shown(new.key, label=found.label if new.label is None else new.label, baseUrl=base_url)
        entered = SentKey(found.service, new.key, base_url)
        verdict = await self._check_key.entered(caller, entered)
        replaced = await self._key_vault.replace(self._command(caller, found, entered, verdict))
        if new.label in (None, replaced.label or ""):
            return replaced
        return await self._key_vault.update(
            UpdateKey(credential_id=found.id, user_id=caller.user_id, label=new.label)
        )

    async def _find(self, caller: Caller, credential_id: UUID) -> Credential:
        for credential in (await self._key_vault.list(caller.user_id)).items:
            if credential.id == credential_id:
                return credential
        raise NotFoundError("no such key")

    def _command(
        self, caller: Caller, found: Credential, entered: SentKey, verdict: KeyVerdict
    ) -> ReplaceKey:
        sealed = seal_key(self._sealer, entered, "store", user_id=caller.user_id, credential_id=found.id)
        return ReplaceKey(
            credential_id=found.id,
            user_id=caller.user_id,
            service=found.service,
            sealed=sealed,
            base_url=entered.base_url,
            status=verdict.status,
        )
