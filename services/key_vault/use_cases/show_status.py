"""Which keys there are for each service, of the user's and of the platform's."""

import asyncio
from collections.abc import Sequence

from services.key_vault.domain.credentials import StoredCredential
from services.key_vault.domain.platform import PoolState
from services.key_vault.ports import ConsentStore, CredentialStore, Remembered
from services.key_vault.use_cases.platform_pools import PlatformPools
from shared.contracts.keys import GetKeyStatus, KeyStatus, ServiceKeys
from shared.kernel.names import CredentialStatus, KeyService, PlatformKeyState


class ShowKeyStatusUseCase:
    def __init__(
        self, *, store: CredentialStore, consents: ConsentStore, pools: PlatformPools, remembered: Remembered
    ) -> None:
        self._store = store
        self._consents = consents
        self._pools = pools
        self._remembered = remembered

    async def __call__(self, query: GetKeyStatus) -> KeyStatus:
        stored, consent, pools = await asyncio.gather(
            self._store.all_of(query.user_id), self._consents.consent(query.user_id), self._pools.glance()
        )
        return KeyStatus(
            services=tuple(_of_service(service, stored, pools[service]) for service in KeyService),
            allow_platform_fallback=consent.allow_platform,
            allow_gateway_fallback=consent.allow_gateway,
            cache_age_s=self._remembered.age_s(query.user_id),
            cache_size=len(self._remembered),
        )


def _of_service(service: KeyService, stored: Sequence[StoredCredential], pool: PoolState) -> ServiceKeys:
    statuses = tuple(one.status for one in stored if one.place.service is service)
    return ServiceKeys(
        service=service,
        has_user_key=any(status is not CredentialStatus.INACTIVE for status in statuses),
        has_platform_key=any(key.state is PlatformKeyState.READY for key in pool.keys),
        user_statuses=statuses,
    )
