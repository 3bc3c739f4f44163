"""Encryption at rest by Vault Transit, bound to the credential's place.

A ciphertext moved to another row, or a row given another address, does not decrypt.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from services.key_vault.adapters.transit import MASTER_KEY, Bound, Transit, b64, bound_to, misplaced
from services.key_vault.adapters.transit_batch import TransitBatch
from services.key_vault.domain.credentials import Ciphertext, Place, StoredCredential
from shared.kernel.errors import InternalError, InvalidRequestError, NotFoundError
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger
from shared.runtime.vault import VaultClient

_FINGERPRINTS: Final = "fingerprints"


class VaultCipher:
    """See `Cipher`. `mount`: Transit's."""

    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._mount = mount
        self._transit = Transit(vault, mount=mount)
        self._batch = TransitBatch(vault, path=f"{mount}/{{}}/{MASTER_KEY}")

    async def encrypt(self, key: SecretText, place: Place) -> Ciphertext:
        data = await self._transit.encrypt(key, _bound(place))
        return Ciphertext(data["ciphertext"], data["key_version"])

    async def fingerprint(self, key: SecretText, place: Place) -> str:
        text = _canonical(
            {
                "user_id": place.user_id,
                "service": place.service,
                "base_url": place.base_url,
                "key": key.reveal(),
            }
        )
        data = await self._transit.ask(
            lambda client: client.secrets.transit.generate_hmac(  # type: ignore[no-untyped-call]
                _FINGERPRINTS, hash_input=b64(text), mount_point=self._mount
            )
        )
        fingerprint: str = data["hmac"]
        return fingerprint

    async def decrypt(self, ciphertext: str, place: Place) -> SecretText:
        try:
            return await self._transit.decrypt(ciphertext, _bound(place))
        except InvalidRequestError:
            raise InternalError("a stored credential does not decrypt") from None

    async def latest_version(self) -> int:
        data = await self._transit.ask(
            lambda client: client.secrets.transit.read_key(  # type: ignore[no-untyped-call]
                MASTER_KEY, mount_point=self._mount
            )
        )
        version: int = data["latest_version"]
        return version

    async def rewrap(self, stored: Sequence[StoredCredential]) -> list[Ciphertext | None]:
        """Decrypt and encrypt: Transit's own rewrap knows no associated data (hashicorp/vault 31842)."""
        plain = await self._batch.decrypt(
            [{"ciphertext": one.ciphertext, **_bound(one.place)._asdict()} for one in stored]
        )
        found = [(one, text) for one, text in zip(stored, plain, strict=True) if text is not None]
        try:
            fresh = await self._batch.encrypt(
                [{"plaintext": text, **_bound(one.place)._asdict()} for one, text in found]
            )
        except (InvalidRequestError, NotFoundError):
            raise misplaced() from None
        made = {
            one.credential_id: Ciphertext(data["ciphertext"], data["key_version"])
            for (one, _), data in zip(found, fresh, strict=True)
        }
        for one in stored:
            if one.credential_id not in made:
                get_logger().error("a stored credential does not decrypt", credential_id=one.credential_id)
        return [made.get(one.credential_id) for one in stored]


def _bound(place: Place) -> Bound:
    associated = {
        "credential_id": str(place.credential_id),
        "service": place.service,
        "version": place.version,
    }
    if place.base_url is not None:
        associated["base_url"] = place.base_url
    return bound_to(place.user_id, _canonical(associated))


def _canonical(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
