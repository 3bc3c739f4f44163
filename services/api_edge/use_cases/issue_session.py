"""Turn a key into a session key: asked about at its provider, encrypted by key_vault, stored nowhere."""

from dataclasses import dataclass

from services.api_edge.domain.identity import Caller
from services.api_edge.domain.request_keys import SentKey
from services.api_edge.ports import KeyVault, Sealer
from services.api_edge.use_cases.check_key import CheckKey
from services.api_edge.use_cases.seal_key import seal_key
from shared.contracts.keys import IssueSessionKey, SessionKeyIssued
from shared.kernel.names import KeyVerdict


@dataclass(frozen=True, slots=True)
class NewSession:
    """`verdict`: what the key's provider said of it."""

    issued: SessionKeyIssued
    verdict: KeyVerdict


class IssueSessionUseCase:
    def __init__(self, *, sealer: Sealer, key_vault: KeyVault, check_key: CheckKey) -> None:
        self._sealer = sealer
        self._key_vault = key_vault
        self._check_key = check_key

    async def __call__(self, caller: Caller, entered: SentKey) -> NewSession:
        """Raise KeyRefusedError, VaultUnavailableError, or what inference and key_vault answer."""
        verdict = await self._check_key.entered(caller, entered)
        sealed = seal_key(self._sealer, entered, "session", user_id=caller.user_id)
        command = IssueSessionKey(
            user_id=caller.user_id, service=entered.service, sealed=sealed, base_url=entered.base_url
        )
        return NewSession(await self._key_vault.issue_session(command), verdict)
