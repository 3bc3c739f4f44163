"""Tell how a key of the caller's stands at its provider, now: a stored one."""

from dataclasses import dataclass

from services.api_edge.domain.identity import Caller
from services.api_edge.ports import KeyVault
from services.api_edge.use_cases.check_key import CheckKey, accepted
from shared.contracts.keys import Credential, UpdateKey
from shared.kernel.errors import UserApiKeyRequiredError
from shared.kernel.names import CredentialStatus, KeyService, KeyVerdict


@dataclass(frozen=True, slots=True)
class Validated:
    credential: Credential
    verdict: KeyVerdict


class ValidateStoredKey:
    def __init__(self, *, key_vault: KeyVault, check_key: CheckKey) -> None:
        self._key_vault = key_vault
        self._check_key = check_key

    async def __call__(self, caller: Caller, service: KeyService, base_url: str | None) -> Validated:
        """Ask about the key that would be tried first, of those for `base_url` when one is given.

        Its status is written down when it changed, unless its owner has replaced it or taken it out since.
        Raises UserApiKeyRequiredError when there is none, KeyRefusedError, or what inference and key_vault
        answer.
        """
        found = await self._first(caller, service, base_url)
        verdict = await self._check_key.stored(caller, service, found.id)
        if verdict is not KeyVerdict.UNREACHABLE and verdict.status is not found.status:
            found = await self._key_vault.update(_told(caller, found, verdict))
        return Validated(found, accepted(verdict, service))

    async def _first(self, caller: Caller, service: KeyService, base_url: str | None) -> Credential:
        for credential in (await self._key_vault.list(caller.user_id)).items:
            is_meant = credential.service is service and base_url in (None, credential.base_url)
            if is_meant and credential.status is not CredentialStatus.INACTIVE:
                return credential
        raise UserApiKeyRequiredError(service=service.value)


def _told(caller: Caller, asked_about: Credential, verdict: KeyVerdict) -> UpdateKey:
    return UpdateKey(
        credential_id=asked_about.id,
        user_id=caller.user_id,
        status=verdict.status,
        status_of_version=asked_about.version,
    )
