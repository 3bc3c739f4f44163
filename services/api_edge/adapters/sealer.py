"""key_vault's public sealing key, read from Vault, and sealing with it."""

import asyncio

import hvac

from shared.contracts.sealed import SealBinding, SealedKey
from shared.kernel.errors import PlatformError
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger
from shared.runtime.sealing import seal
from shared.runtime.vault import VaultClient, vault_unavailable

_PATH = "sealing/public"
_FIELD = "public_key"
_RETRY_S = 1.0
_REFRESH_S = 300.0


class VaultSealer:
    """Keeps the last key it read: Vault may go away afterwards."""

    def __init__(self, vault: VaultClient, realm: str) -> None:
        self._vault = vault
        self._realm = realm
        self._public_key: str | None = None

    def seal(self, secret: SecretText, binding: SealBinding) -> SealedKey:
        if self._public_key is None:
            raise vault_unavailable()
        return seal(secret, self._public_key, binding)

    async def keep_key(self) -> None:
        """Read the key, again and again, until cancelled."""
        while True:
            try:
                self._public_key = await self._vault.call(self._read)
                await asyncio.sleep(_REFRESH_S)
            except PlatformError as error:
                get_logger().warning("could not read the sealing key", code=error.code)
                await asyncio.sleep(_RETRY_S)

    def _read(self, client: hvac.Client) -> str:
        found = client.secrets.kv.v2.read_secret_version(
            _PATH, mount_point=self._realm, raise_on_deleted_version=True
        )
        return str(found["data"]["data"][_FIELD])
