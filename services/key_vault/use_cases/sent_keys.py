"""Keys that come with a run: a provider's key, or a session token, each sealed to key_vault."""

from dataclasses import dataclass

from services.key_vault.domain.ask import Sent, check_serves
from services.key_vault.domain.entry import check_base_url, check_key
from services.key_vault.domain.session import read_token
from services.key_vault.ports import Clock, Guarding, Sealer, SessionCipher
from shared.contracts.resolving import ResolveKey
from shared.contracts.sealed import RequestKey, SealBinding
from shared.kernel.names import KeyService, KeySource
from shared.kernel.secret import SecretText


@dataclass(frozen=True)
class SentKey:
    """`base_url`: its owner's own address."""

    key: SecretText
    service: KeyService
    base_url: str | None


class SentKeyOpener:
    def __init__(self, *, sealer: Sealer, sessions: SessionCipher, guarding: Guarding, now: Clock) -> None:
        self._sealer = sealer
        self._sessions = sessions
        self._guarding = guarding
        self._now = now

    async def open(self, sent: Sent, query: ResolveKey) -> SentKey:
        """Raise `invalid_request`, or `user_api_key_invalid` for a session token that is not good."""
        key = came_with(query)[sent]
        if sent.source is KeySource.SESSION:
            return await self._session(key, query)
        return self._request(key, query)

    def _request(self, sent: RequestKey, query: ResolveKey) -> SentKey:
        check_serves(sent.service, query.provider)
        check_base_url(sent.service, sent.base_url)
        key = self._sealer.open(sent.sealed, _binding(sent, query))
        check_key(key)
        return SentKey(key, sent.service, sent.base_url)

    async def _session(self, sent: RequestKey, query: ResolveKey) -> SentKey:
        """What the token says of its service and address counts, not what was said beside it."""
        token = self._sealer.open(sent.sealed, _binding(sent, query))
        with self._guarding(token):
            claims, ciphertext = read_token(token, query.user_id, self._now())
            check_serves(claims.service, query.provider)
            key = await self._sessions.decrypt(ciphertext, claims)
        return SentKey(key, claims.service, claims.base_url)


def came_with(query: ResolveKey) -> dict[Sent, RequestKey]:
    """Return the keys that came with a run, best first."""
    came = {Sent(KeySource.REQUEST, number): key for number, key in enumerate(query.request_keys, 1)}
    return came if query.session_key is None else {**came, Sent(KeySource.SESSION): query.session_key}


def _binding(sent: RequestKey, query: ResolveKey) -> SealBinding:
    return SealBinding(
        purpose="request",
        run_id=query.run_id,
        user_id=query.user_id,
        service=sent.service,
        expires_at=sent.sealed.expires_at,
        base_url=sent.base_url,
    )
