"""Which keys there are for each service, of the user's and of the platform's."""

import asyncio
from collections.abc import Sequence

from services.key_vault.domain.credentials import StoredCredential
from services.key_vault.domain.platform import PlatformMark, pool_state
from services.key_vault.ports import (
    Clock,
    ConsentStore,
    CredentialStore,
    PlatformKeys,
    PlatformMarks,
    Remembered,
)
from shared.contracts.keys import GetKeyStatus, KeyStatus, ServiceKeys
from shared.kernel.names import CredentialStatus, KeyService, PlatformKeyState


class ShowKeyStatusUseCase:
    def __init__(
        self,
        *,
        store: CredentialStore,
        consents: ConsentStore,
        platform_keys: PlatformKeys,
        marks: PlatformMarks,
        remembered: Remembered,
        now: Clock,
    ) -> None:
        self._store = store
        self._consents = consents
        self._platform_keys = platform_keys
        self._marks = marks
        self._remembered = remembered
        self._now = now

    async def __call__(self, query: GetKeyStatus) -> KeyStatus:
        stored, consent, marks = await asyncio.gather(
            self._store.all_of(query.user_id), self._consents.consent(query.user_id), self._marks.marks()
        )
        return KeyStatus(
            services=tuple(
                await asyncio.gather(*(self._of_service(service, stored, marks) for service in KeyService))
            ),
            allow_platform_fallback=consent.allow_platform,
            allow_gateway_fallback=consent.allow_gateway,
            cache_age_s=self._remembered.age_s(query.user_id),
            cache_size=len(self._remembered),
        )

    async def _of_service(
        self, service: KeyService, stored: Sequence[StoredCredential], marks: Sequence[PlatformMark]
    ) -> ServiceKeys:
        statuses = tuple(one.status for one in stored if one.place.service is service)
        return ServiceKeys(
            service=service,
            has_user_key=any(status is not CredentialStatus.INACTIVE for status in statuses),
            has_platform_key=await self._platform_has(service, marks),
            user_statuses=statuses,
        )

    async def _platform_has(self, service: KeyService, marks: Sequence[PlatformMark]) -> bool:
        pool = await self._platform_keys.pool(service)
        state = pool_state(service, pool, marks, now=self._now())
        return any(key.state is PlatformKeyState.READY for key in state.keys)
