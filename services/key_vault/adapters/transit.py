"""The master key in Vault Transit: encrypt and decrypt for one user, bound to what the ciphertext is for.

The key is derived from the user (`context`); the associated data are whatever else must stay the same.
https://developer.hashicorp.com/vault/api-docs/secret/transit#encrypt-data
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import hvac

from shared.kernel.errors import InvalidRequestError, NotFoundError, VaultUnavailableError
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient

MASTER_KEY: Final = "credentials"


class Bound(NamedTuple):
    """What a ciphertext is bound to, in base64."""

    context: str
    associated_data: str


def bound_to(user_id: str, associated: bytes) -> Bound:
    return Bound(b64(user_id.encode()), b64(associated))


def b64(raw: bytes) -> str:
    return b64encode(raw).decode()


def misplaced() -> VaultUnavailableError:
    return VaultUnavailableError("Vault's Transit mount or key is missing", service="vault")


class Transit:
    """Raises `vault_unavailable`. `mount`: Transit's."""

    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._vault = vault
        self._mount = mount

    async def encrypt(self, key: SecretText, bound: Bound) -> dict[str, Any]:
        """Return `ciphertext` and `key_version`."""
        return await self.ask(
            lambda client: client.secrets.transit.encrypt_data(
                MASTER_KEY,
                plaintext=b64(key.reveal().encode()),
                context=bound.context,
                associated_data=bound.associated_data,
                mount_point=self._mount,
            )
        )

    async def decrypt(self, ciphertext: str, bound: Bound) -> SecretText:
        """Raise InvalidRequestError for a ciphertext of something else."""
        try:
            answer = await self._vault.call(
                lambda client: client.secrets.transit.decrypt_data(
                    MASTER_KEY,
                    ciphertext=ciphertext,
                    context=bound.context,
                    associated_data=bound.associated_data,
                    mount_point=self._mount,
                )
            )
        except NotFoundError:
            raise misplaced() from None
        return SecretText(b64decode(answer["data"]["plaintext"]).decode())

    async def ask(self, operation: Callable[[hvac.Client], dict[str, Any]]) -> dict[str, Any]:
        """Encrypt, digest or look: whatever Vault refuses here is Vault's state, never the caller's input."""
        try:
            answer = await self._vault.call(operation)
        except (InvalidRequestError, NotFoundError):
            raise misplaced() from None
        data: dict[str, Any] = answer["data"]
        return data
