"""In-memory parts for key_vault. `fails` makes every call raise, as when the real part is away."""

import hmac
import os
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.key_vault.domain.credentials import (
    CREDENTIALS_PER_USER_MAX,
    DEFAULT_CONSENT,
    Ciphertext,
    Consent,
    NewCredential,
    OwnKeys,
    Place,
    StoredCredential,
)
from shared.kernel.errors import ConflictError, InternalError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText


class Failing:
    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.calls = 0

    def called(self) -> None:
        self.calls += 1
        if self.fails is not None:
            raise self.fails


class InMemoryCredentialStore(Failing):
    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[UUID, tuple[NewCredential, StoredCredential]] = {}
        self._consents: dict[str, Consent] = defaultdict(lambda: DEFAULT_CONSENT)

    async def decide(self, user_id: str, consent: Consent) -> None:
        self._consents[user_id] = consent

    async def add(self, new: NewCredential) -> StoredCredential:
        self.called()
        place = new.place
        for known, stored in self._rows.values():
            at = known.place
            if (at.user_id, at.service, known.fingerprint) == (place.user_id, place.service, new.fingerprint):
                return stored
        if place.credential_id in self._rows or len(self._of(place.user_id)) >= CREDENTIALS_PER_USER_MAX:
            raise ConflictError
        stored = StoredCredential(place, new.ciphertext.text, new.hint, new.label, datetime.now(UTC))
        self._rows[place.credential_id] = (new, stored)
        return stored

    async def own_keys(self, user_id: str, services: Collection[KeyService]) -> OwnKeys:
        self.called()
        own = tuple(stored for stored in self._of(user_id) if stored.place.service in services)
        return OwnKeys(own, self._consents[user_id])

    async def all_of(self, user_id: str) -> tuple[StoredCredential, ...]:
        self.called()
        return self._of(user_id)

    async def remove(self, user_id: str, credential_id: UUID) -> bool:
        self.called()
        row = self._rows.get(credential_id)
        if row is None or row[1].place.user_id != user_id:
            return False
        del self._rows[credential_id]
        return True

    def _of(self, user_id: str) -> tuple[StoredCredential, ...]:
        own = [stored for _, stored in self._rows.values() if stored.place.user_id == user_id]
        return tuple(reversed(own))


class InMemoryCipher(Failing):
    """AES-GCM with a key per user, and its place as associated data: what Transit does."""

    def __init__(self) -> None:
        super().__init__()
        self._secret = os.urandom(32)

    async def encrypt(self, key: SecretText, place: Place) -> Ciphertext:
        self.called()
        nonce = os.urandom(12)
        raw = self._aead(place).encrypt(nonce, key.reveal().encode(), _bound(place))
        return Ciphertext(f"vault:v1:{b64encode(nonce + raw).decode()}", key_version=1)

    async def decrypt(self, ciphertext: str, place: Place) -> SecretText:
        self.called()
        try:
            raw = b64decode(ciphertext.removeprefix("vault:v1:"), validate=True)
            return SecretText(self._aead(place).decrypt(raw[:12], raw[12:], _bound(place)).decode())
        except (InvalidTag, ValueError):
            raise InternalError from None

    async def fingerprint(self, key: SecretText, place: Place) -> str:
        self.called()
        text = orjson.dumps([place.user_id, place.service, place.base_url, key.reveal()])
        return f"vault:v1:{b64encode(self._keyed(text)).decode()}"

    def _aead(self, place: Place) -> AESGCM:
        return AESGCM(self._keyed(place.user_id.encode()))

    def _keyed(self, text: bytes) -> bytes:
        return hmac.digest(self._secret, text, sha256)


class InMemoryPlatformKeys(Failing):
    def __init__(self) -> None:
        super().__init__()
        self._pools: dict[KeyService, tuple[SecretText, ...]] = {}

    async def put(self, service: KeyService, *keys: str) -> None:
        self._pools[service] = tuple(map(SecretText, keys))

    async def keys(self, service: KeyService) -> tuple[SecretText, ...]:
        self.called()
        return self._pools.get(service, ())


def _bound(place: Place) -> bytes:
    return orjson.dumps([str(place.credential_id), place.service, place.base_url])
