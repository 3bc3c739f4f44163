"""Turn a key into a session token: ciphertext that its owner keeps, and nobody here."""

from services.key_vault.domain.entry import check_base_url, check_key
from services.key_vault.domain.session import SessionClaims, check_fits, expiry, write_token
from services.key_vault.ports import Clock, Guarding, Sealer, SessionCipher
from shared.contracts.keys import IssueSessionKey, SessionKeyIssued
from shared.contracts.sealed import SealBinding
from shared.kernel.secret import SecretText


class IssueSessionUseCase:
    """`ttl_s`: for how many seconds a token is good."""

    def __init__(
        self, *, sealer: Sealer, sessions: SessionCipher, guarding: Guarding, now: Clock, ttl_s: int
    ) -> None:
        self._sealer = sealer
        self._sessions = sessions
        self._guarding = guarding
        self._now = now
        self._ttl_s = ttl_s

    async def __call__(self, command: IssueSessionKey) -> SessionKeyIssued:
        check_base_url(command.service, command.base_url)
        key = self._sealer.open(command.sealed, _binding(command))
        with self._guarding(key):
            check_key(key)
            check_fits(key)
            return await self._issued(key, command)

    async def _issued(self, key: SecretText, command: IssueSessionKey) -> SessionKeyIssued:
        expires_at = expiry(self._now(), self._ttl_s)
        claims = SessionClaims(command.user_id, command.service, command.base_url, expires_at)
        return SessionKeyIssued(
            session_key=write_token(claims, await self._sessions.encrypt(key, claims)),
            service=command.service,
            hint=key.hint(),
            base_url=command.base_url,
            expires_at=expires_at,
        )


def _binding(command: IssueSessionKey) -> SealBinding:
    return SealBinding(
        purpose="session",
        user_id=command.user_id,
        service=command.service,
        expires_at=command.sealed.expires_at,
        base_url=command.base_url,
    )
