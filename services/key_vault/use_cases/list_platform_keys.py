"""Show the platform's keys to those who run it: their ends, and how they stand."""

from services.key_vault.domain.platform import PlatformKey
from services.key_vault.use_cases.platform_pools import PlatformPools
from shared.contracts.platform_keys import ListPlatformKeys, PlatformKeyInfo, PlatformKeys


class ListPlatformKeysUseCase:
    def __init__(self, *, pools: PlatformPools) -> None:
        self._pools = pools

    async def __call__(self, _query: ListPlatformKeys) -> PlatformKeys:
        pools = await self._pools.all()
        return PlatformKeys(
            items=tuple(describe_platform(key) for pool in pools.values() for key in pool.keys)
        )


def describe_platform(key: PlatformKey) -> PlatformKeyInfo:
    mark = key.mark
    return PlatformKeyInfo(
        credential_id=key.credential_id,
        service=key.service,
        hint=key.key.hint(),
        state=key.state,
        until=mark.until if mark else None,
        reason=mark.reason if mark else None,
        changed_at=mark.marked_at if mark else None,
    )
