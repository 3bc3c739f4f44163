"""In-memory parts for key_vault. `fails` makes every call raise, as when the real part is away."""

import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.key_vault.domain.credentials import Ciphertext, Place, StoredCredential
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.kernel.errors import InternalError
from shared.kernel.secret import SecretText
from tests.fakes.key_vault_store import Failing


class InMemoryKeyEvents:
    """Keeps what was told."""

    def __init__(self) -> None:
        self.told: list[KeyStored | KeyRevoked | ConsentChanged] = []

    async def tell(self, event: KeyStored | KeyRevoked | ConsentChanged) -> None:
        self.told.append(event)


class InMemoryCipher(Failing):
    """AES-GCM with a key per user and version, and its place as associated data: what Transit does."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets = [os.urandom(32)]
        self._fingerprints = os.urandom(32)
        self.version_min = 1

    def rotate(self) -> None:
        self._secrets.append(os.urandom(32))

    async def encrypt(self, key: SecretText, place: Place) -> Ciphertext:
        self.called()
        return self._encrypt(key, place.user_id, _bound(place))

    async def decrypt(self, ciphertext: str, place: Place) -> SecretText:
        self.called()
        try:
            return self._decrypt(ciphertext, place.user_id, _bound(place))
        except (InvalidTag, ValueError, IndexError):
            raise InternalError from None

    async def fingerprint(self, key: SecretText, place: Place) -> str:
        self.called()
        text = orjson.dumps([place.user_id, place.service, place.base_url, key.reveal()])
        return f"vault:v1:{b64encode(hmac.digest(self._fingerprints, text, sha256)).decode()}"

    async def latest_version(self) -> int:
        self.called()
        return len(self._secrets)

    async def rewrap(self, stored: Sequence[StoredCredential]) -> list[Ciphertext | None]:
        self.called()
        return [self._rewrapped(one) for one in stored]

    def _rewrapped(self, one: StoredCredential) -> Ciphertext | None:
        place = one.place
        try:
            key = self._decrypt(one.ciphertext, place.user_id, _bound(place))
        except (InvalidTag, ValueError, IndexError):
            return None
        return self._encrypt(key, place.user_id, _bound(place))

    def _encrypt(self, key: SecretText, user_id: str, bound: bytes) -> Ciphertext:
        nonce, version = os.urandom(12), len(self._secrets)
        raw = self._aead(user_id, version).encrypt(nonce, key.reveal().encode(), bound)
        return Ciphertext(f"vault:v{version}:{b64encode(nonce + raw).decode()}", version)

    def _decrypt(self, ciphertext: str, user_id: str, bound: bytes) -> SecretText:
        head, _, text = ciphertext.rpartition(":")
        version = int(head.removeprefix("vault:v"))
        if version < self.version_min:
            raise ValueError
        raw = b64decode(text, validate=True)
        return SecretText(self._aead(user_id, version).decrypt(raw[:12], raw[12:], bound).decode())

    def _aead(self, user_id: str, version: int) -> AESGCM:
        return AESGCM(hmac.digest(self._secrets[version - 1], user_id.encode(), sha256))


def _bound(place: Place) -> bytes:
    return orjson.dumps([str(place.credential_id), place.service, place.base_url, place.version])
