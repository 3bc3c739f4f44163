"""Resolve the key of one attempt and seal it to the worker that asks."""

from collections import Counter
from dataclasses import dataclass

from services.key_vault.domain.credentials import StoredCredential
from services.key_vault.domain.entry import check_base_url, check_key
from services.key_vault.domain.order import (
    REQUEST_CREDENTIAL,
    check_fallback,
    own_choice,
    own_services,
    own_source,
    platform_exhausted,
    platform_services,
    takes_own_keys,
    takes_request_key,
)
from services.key_vault.domain.platform import PlatformKey, next_in_turn, platform_key
from services.key_vault.ports import Cipher, Clock, CredentialStore, Guarding, PlatformKeys, Sealer
from shared.contracts.keys import SEALED_FOR, KeyResolved, RequestKey, ResolveKey, SealBinding
from shared.kernel.names import KeyService, KeySource
from shared.kernel.secret import SecretText


@dataclass(frozen=True)
class _Choice:
    credential_id: str
    source: KeySource
    service: KeyService
    key: SecretText
    base_url: str | None = None
    consent_id: str | None = None


class ResolveKeyUseCase:
    """The platform's keys are reached only after the user's were really looked up: no error leads to them."""

    def __init__(
        self,
        *,
        sealer: Sealer,
        cipher: Cipher,
        store: CredentialStore,
        platform_keys: PlatformKeys,
        guarding: Guarding,
        now: Clock,
    ) -> None:
        self._sealer = sealer
        self._cipher = cipher
        self._store = store
        self._platform_keys = platform_keys
        self._guarding = guarding
        self._now = now
        self._turns: Counter[KeyService] = Counter()

    async def __call__(self, query: ResolveKey) -> KeyResolved:
        choice = await self._choose(query)
        with self._guarding(choice.key):
            return self._sealed(choice, query)

    async def _choose(self, query: ResolveKey) -> _Choice:
        if not takes_own_keys(query.policy):
            return await self._platform(query, consent_id=None)
        sent = query.request_key
        if sent is not None and takes_request_key(sent.service, query.provider, query.excluding):
            return self._request(sent, query)
        own = await self._store.own_keys(query.user_id, own_services(query.provider))
        if credential := own_choice(own, query.provider, query.excluding):
            return await self._own(credential)
        check_fallback(query.policy, own.consent, query.provider, query.excluding)
        return await self._platform(query, consent_id=own.consent.consent_id)

    def _request(self, sent: RequestKey, query: ResolveKey) -> _Choice:
        check_base_url(sent.service, sent.base_url)
        key = self._sealer.open(sent.sealed, _request_binding(sent, query))
        check_key(key)
        return _Choice(REQUEST_CREDENTIAL, KeySource.REQUEST, sent.service, key, sent.base_url)

    async def _own(self, credential: StoredCredential) -> _Choice:
        place = credential.place
        key = await self._cipher.decrypt(credential.ciphertext, place)
        source = own_source(place.service)
        return _Choice(credential.credential_id, source, place.service, key, place.base_url)

    async def _platform(self, query: ResolveKey, *, consent_id: str | None) -> _Choice:
        tried: list[KeyService] = []
        for service in platform_services(query.provider):
            pool = [platform_key(service, key) for key in await self._platform_keys.keys(service)]
            if pool:
                tried.append(service)
            if chosen := self._in_turn(service, pool, query):
                return _Choice(
                    chosen.credential_id, KeySource.PLATFORM, service, chosen.key, consent_id=consent_id
                )
        raise platform_exhausted(query.provider, tried)

    def _in_turn(self, service: KeyService, pool: list[PlatformKey], query: ResolveKey) -> PlatformKey | None:
        turn = self._turns[service]
        self._turns[service] += 1
        return next_in_turn(pool, query.excluding, turn)

    def _sealed(self, choice: _Choice, query: ResolveKey) -> KeyResolved:
        binding = SealBinding(
            purpose="resolve",
            run_id=query.run_id,
            attempt=query.attempt,
            user_id=query.user_id,
            credential_id=choice.credential_id,
            service=choice.service,
            base_url=choice.base_url,
            expires_at=self._now() + SEALED_FOR,
        )
        return KeyResolved(
            credential_id=choice.credential_id,
            source=choice.source,
            service=choice.service,
            sealed=self._sealer.seal(choice.key, query.worker_public_key, binding),
            base_url=choice.base_url,
            consent_id=choice.consent_id,
        )


def _request_binding(sent: RequestKey, query: ResolveKey) -> SealBinding:
    return SealBinding(
        purpose="request",
        run_id=query.run_id,
        user_id=query.user_id,
        service=sent.service,
        expires_at=sent.sealed.expires_at,
        base_url=sent.base_url,
    )
