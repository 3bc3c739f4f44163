"""Make a platform key ready again, by hand."""

from services.key_vault.domain.platform import platform_key, service_of
from services.key_vault.ports import PlatformKeys, PlatformMarks
from services.key_vault.use_cases.list_platform_keys import describe_platform
from shared.contracts.platform_keys import MendPlatformKey, PlatformKeyInfo
from shared.kernel.errors import NotFoundError


class MendPlatformKeyUseCase:
    def __init__(self, *, keys: PlatformKeys, marks: PlatformMarks) -> None:
        self._keys = keys
        self._marks = marks

    async def __call__(self, command: MendPlatformKey) -> PlatformKeyInfo:
        """Return the key as it stands now. One that is ready stays so."""
        service = service_of(command.credential_id)
        if service is None:
            raise NotFoundError("no such platform key")
        await self._marks.clear(command.credential_id)
        pool = await self._keys.pool(service)
        for key in (platform_key(service, key) for key in pool.keys):
            if key.credential_id == command.credential_id:
                return describe_platform(key)
        raise NotFoundError("no such platform key")
