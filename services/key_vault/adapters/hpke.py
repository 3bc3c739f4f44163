"""HPKE with key_vault's own key pair, whose public half is anchored in Vault where the edge reads it."""

import asyncio
from typing import Final

from shared.contracts.sealed import SealBinding, SealedKey
from shared.kernel.errors import PlatformError
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger
from shared.runtime.sealing import KeyPair, seal
from shared.runtime.vault import VaultClient

_RETRY_S: Final = 1.0


class HpkeSealer:
    def __init__(self, own: KeyPair) -> None:
        self._own = own

    def open(self, sealed: SealedKey, binding: SealBinding) -> SecretText:
        return self._own.open(sealed, binding)

    def seal(self, secret: SecretText, public_key: str, binding: SealBinding) -> SealedKey:
        return seal(secret, public_key, binding)


async def load_sealer(vault: VaultClient, realm: str) -> HpkeSealer:
    """Read the private key from Vault, waiting for Vault, and for the key, as long as it takes."""
    while True:
        try:
            return HpkeSealer(KeyPair.from_private(await _private_key(vault, realm)))
        except PlatformError as error:
            get_logger().warning("waiting for the sealing key", reason=error.code)
            await asyncio.sleep(_RETRY_S)


async def _private_key(vault: VaultClient, realm: str) -> SecretText:
    answer = await vault.call(
        lambda client: client.secrets.kv.v2.read_secret_version(
            "sealing/private", mount_point=realm, raise_on_deleted_version=True
        )
    )
    return SecretText(answer["data"]["data"]["private_key"])
