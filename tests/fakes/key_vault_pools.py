"""In-memory parts of the resolving side: pools, marks, session keys. `fails` makes every call raise."""

import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.key_vault.domain.platform import PlatformMark, PlatformPool, stronger
from services.key_vault.domain.session import TAMPERED, SessionClaims, session_refused
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText
from tests.fakes.key_vault_store import Failing


class InMemoryPlatformKeys(Failing):
    def __init__(self) -> None:
        super().__init__()
        self._pools: dict[KeyService, PlatformPool] = {}

    async def put(
        self,
        service: KeyService,
        *keys: str,
        base_url: str | None = None,
        written_at: datetime | None = None,
    ) -> None:
        at = written_at or datetime.now(UTC)
        self._pools[service] = PlatformPool(tuple(map(SecretText, keys)), base_url, at)

    async def pool(self, service: KeyService) -> PlatformPool:
        self.called()
        return self._pools.get(service, PlatformPool())


class InMemoryPlatformMarks(Failing):
    def __init__(self) -> None:
        super().__init__()
        self._marks: dict[str, PlatformMark] = {}

    async def marks(self) -> tuple[PlatformMark, ...]:
        self.called()
        return tuple(self._marks.values())

    async def mark(self, marks: Sequence[PlatformMark]) -> None:
        self.called()
        for mark in marks:
            known = self._marks.get(mark.credential_id, mark)
            self._marks[mark.credential_id] = stronger(known, mark)

    async def clear(self, credential_id: str) -> bool:
        self.called()
        return self._marks.pop(credential_id, None) is not None


class InMemorySessionCipher(Failing):
    """AES-GCM with the user and the claims as associated data: what Transit does."""

    def __init__(self) -> None:
        super().__init__()
        self._aead = AESGCM(os.urandom(32))

    async def encrypt(self, key: SecretText, claims: SessionClaims) -> str:
        self.called()
        nonce = os.urandom(12)
        raw = self._aead.encrypt(nonce, key.reveal().encode(), _bound(claims))
        return f"vault:v1:{b64encode(nonce + raw).decode()}"

    async def decrypt(self, ciphertext: str, claims: SessionClaims) -> SecretText:
        self.called()
        try:
            raw = b64decode(ciphertext.removeprefix("vault:v1:"), validate=True)
            return SecretText(self._aead.decrypt(raw[:12], raw[12:], _bound(claims)).decode())
        except (InvalidTag, ValueError):
            raise session_refused(TAMPERED) from None


def _bound(claims: SessionClaims) -> bytes:
    return orjson.dumps([claims.user_id, claims.fields()])
