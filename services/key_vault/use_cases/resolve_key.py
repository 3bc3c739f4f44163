"""Resolve the key of one attempt and seal it to the worker that asks."""

from dataclasses import dataclass, replace
from datetime import datetime

from services.key_vault.domain.ask import Ask, Sent
from services.key_vault.domain.choice import Choice, Known, Look, LookForOwn, Own, choose
from services.key_vault.domain.credentials import StoredCredential
from services.key_vault.domain.fallback import Lent, LookInPool
from services.key_vault.ports import Cipher, Clock, CredentialStore, Guarding, Sealer
from services.key_vault.use_cases.platform_pools import PlatformPools
from services.key_vault.use_cases.sent_keys import SentKeyOpener, came_with
from shared.contracts.resolving import KeyResolved, ResolveKey
from shared.contracts.sealed import SEALED_FOR
from shared.kernel.key_order import own_services, own_source, platform_source
from shared.kernel.names import KeyPolicy, KeyService, KeySource
from shared.kernel.secret import SecretText


@dataclass(frozen=True)
class _Found:
    """The key of a choice."""

    credential_id: str
    source: KeySource
    service: KeyService
    key: SecretText
    base_url: str | None = None
    version: int | None = None
    consent_id: str | None = None
    would_refuse_policy: KeyPolicy | None = None


class ResolveKeyUseCase:
    """The platform's keys are reached only after the user's were really looked up: no error leads to them."""

    def __init__(
        self,
        *,
        sealer: Sealer,
        cipher: Cipher,
        store: CredentialStore,
        sent_keys: SentKeyOpener,
        pools: PlatformPools,
        guarding: Guarding,
        now: Clock,
    ) -> None:
        self._sealer = sealer
        self._cipher = cipher
        self._store = store
        self._sent_keys = sent_keys
        self._pools = pools
        self._guarding = guarding
        self._now = now

    async def __call__(self, query: ResolveKey) -> KeyResolved:
        choice = await self._choose(_ask(query, self._now()), query.user_id)
        found = await self._found(choice, query)
        with self._guarding(found.key):
            return self._sealed(found, query)

    async def _choose(self, ask: Ask, user_id: str) -> Choice:
        known = Known()
        while isinstance(step := choose(ask, known), LookForOwn | LookInPool):
            known = await self._look(step, ask, user_id, known)
        return step

    async def _look(self, step: Look, ask: Ask, user_id: str, known: Known) -> Known:
        if isinstance(step, LookForOwn):
            return replace(known, own=await self._store.own_keys(user_id, own_services(ask.provider)))
        pool = await self._pools.take_turn(step.service)
        return replace(known, pools={**known.pools, step.service: pool})

    async def _found(self, choice: Choice, query: ResolveKey) -> _Found:
        match choice:
            case Sent():
                sent = await self._sent_keys.open(choice, query)
                return _Found(choice.credential_id, choice.source, sent.service, sent.key, sent.base_url)
            case Own(credential):
                return await self._own(credential)
            case Lent():
                return _lent(choice)

    async def _own(self, credential: StoredCredential) -> _Found:
        place = credential.place
        key = await self._cipher.decrypt(credential.ciphertext, place)
        source = own_source(place.service)
        return _Found(credential.credential_id, source, place.service, key, place.base_url, place.version)

    def _sealed(self, found: _Found, query: ResolveKey) -> KeyResolved:
        binding = query.answer_binding(
            credential_id=found.credential_id,
            service=found.service,
            base_url=found.base_url,
            expires_at=self._now() + SEALED_FOR,
        )
        return KeyResolved(
            credential_id=found.credential_id,
            source=found.source,
            service=found.service,
            sealed=self._sealer.seal(found.key, query.worker_public_key, binding),
            base_url=found.base_url,
            consent_id=found.consent_id,
            credential_version=found.version,
            would_refuse_policy=found.would_refuse_policy,
        )


def _ask(query: ResolveKey, now: datetime) -> Ask:
    """What came with the run is passed over when its time is over, but for its first attempt."""
    came = came_with(query)
    sent = [one for one, key in came.items() if not query.excluding or key.sealed.expires_at > now]
    return Ask(
        policy=query.policy,
        provider=query.provider,
        at=now,
        report_only=query.report_only,
        sent=sent,
        has_expired=any(one not in sent and one.credential_id not in query.excluding for one in came),
        excluding=query.excluding,
    )


def _lent(lent: Lent) -> _Found:
    return _Found(
        lent.key.credential_id,
        platform_source(lent.key.service),
        lent.key.service,
        lent.key.key,
        lent.base_url,
        consent_id=lent.consent_id,
        would_refuse_policy=lent.would_refuse_policy,
    )
