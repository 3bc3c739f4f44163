"""What encrypting session keys promises, held by the fake and by Vault's Transit."""

from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.key_vault.adapters.vault_cipher import VaultCipher
from services.key_vault.adapters.vault_sessions import VaultSessionCipher
from services.key_vault.domain.credentials import Place
from services.key_vault.domain.session import TAMPERED, SessionClaims
from services.key_vault.ports import SessionCipher
from shared.kernel.errors import InternalError, UserApiKeyInvalidError, VaultUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KEY_VAULT, KeyService
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient
from tests.fakes.key_vault_pools import InMemorySessionCipher
from tests.realm import TestRealm, VaultFor

pytestmark = pytest.mark.conformance

KEY = SecretText("sk-test-0123456789abcdefWXYZ")
URL = "https://gateway.example/v1"
CLAIMS = SessionClaims("ada", KeyService.OPENAI, None, datetime(2030, 1, 1, tzinfo=UTC))


def other_claims(claims: SessionClaims) -> list[SessionClaims]:
    """Return claims that differ in one thing each."""
    return [
        replace(claims, user_id="eve"),
        replace(claims, service=KeyService.GROQ),
        replace(claims, base_url="https://evil.example"),
        replace(claims, base_url=None if claims.base_url else URL),
        replace(claims, expires_at=claims.expires_at + timedelta(seconds=1)),
    ]


class SessionsContract:
    @pytest.mark.parametrize("key", ["x", "sk-test-0123456789abcdefWXYZ", "~" * 4096])
    @pytest.mark.parametrize("user_id", ["ada", "名前", "x" * 128])
    async def test_what_was_encrypted_decrypts(self, sessions: SessionCipher, key: str, user_id: str) -> None:
        for claims in (replace(CLAIMS, user_id=user_id), replace(CLAIMS, base_url=URL)):
            ciphertext = await sessions.encrypt(SecretText(key), claims)
            assert (await sessions.decrypt(ciphertext, claims)).reveal() == key

    @pytest.mark.parametrize("base_url", [None, URL])
    async def test_it_decrypts_for_its_own_claims_only(
        self, sessions: SessionCipher, base_url: str | None
    ) -> None:
        claims = replace(CLAIMS, base_url=base_url)
        ciphertext = await sessions.encrypt(KEY, claims)
        for other in other_claims(claims):
            await self.refused(sessions, ciphertext, other)

    @pytest.mark.parametrize(
        "ciphertext", ["", "nonsense", "vault:v1:", "vault:v1:AAAA", "vault:v9:AAAA", "\x00", "\ud800"]
    )
    async def test_nonsense_does_not_decrypt(self, sessions: SessionCipher, ciphertext: str) -> None:
        await self.refused(sessions, ciphertext, CLAIMS)

    async def test_a_changed_ciphertext_does_not_decrypt(self, sessions: SessionCipher) -> None:
        head, _, text = (await sessions.encrypt(KEY, CLAIMS)).rpartition(":")
        raw = bytearray(b64decode(text))
        raw[-1] ^= 1
        await self.refused(sessions, f"{head}:{b64encode(raw).decode()}", CLAIMS)

    async def test_a_ciphertext_says_nothing_of_the_key(self, sessions: SessionCipher) -> None:
        ciphertext = await sessions.encrypt(KEY, CLAIMS)
        assert KEY.reveal().encode() not in b64decode(ciphertext.rpartition(":")[2])
        assert await sessions.encrypt(KEY, CLAIMS) != ciphertext

    async def refused(self, sessions: SessionCipher, ciphertext: str, claims: SessionClaims) -> None:
        with pytest.raises(UserApiKeyInvalidError) as refusal:
            await sessions.decrypt(ciphertext, claims)
        assert refusal.value.detail == TAMPERED


class TestInMemorySessions(SessionsContract):
    @pytest.fixture
    def sessions(self) -> SessionCipher:
        return InMemorySessionCipher()


class TestVaultSessions(SessionsContract):
    @pytest.fixture
    async def vault(self, vault_for: VaultFor) -> VaultClient:
        return await vault_for(KEY_VAULT)

    @pytest.fixture
    def sessions(self, realm: TestRealm, vault: VaultClient) -> SessionCipher:
        return VaultSessionCipher(vault, mount=f"{realm.name}_transit")

    async def test_a_session_is_no_stored_key_and_a_stored_key_no_session(
        self, sessions: SessionCipher, realm: TestRealm, vault: VaultClient
    ) -> None:
        cipher = VaultCipher(vault, mount=f"{realm.name}_transit")
        place = Place("ada", new_id(), KeyService.OPENAI, None)
        with pytest.raises(InternalError):
            await cipher.decrypt(await sessions.encrypt(KEY, CLAIMS), place)
        await self.refused(sessions, (await cipher.encrypt(KEY, place)).text, CLAIMS)

    async def test_a_ciphertext_has_one_way_to_be_written(self, sessions: SessionCipher) -> None:
        ciphertext = await sessions.encrypt(SecretText("x" * 28), CLAIMS)
        text = ciphertext.removeprefix("vault:v1:")
        stray = f"{text[:-2]}{chr(ord(text[-2]) + 1)}="
        assert b64decode(stray) == b64decode(text)
        for other in (f"vault:v0:{text}", f"vault:v01:{text}", f"vault:v1:{stray}", f"{ciphertext}\n"):
            await self.refused(sessions, other, CLAIMS)

    async def test_a_missing_mount_is_vaults_trouble(self, vault: VaultClient) -> None:
        lost = VaultSessionCipher(vault, mount="nowhere_transit")
        with pytest.raises(VaultUnavailableError):
            await lost.encrypt(KEY, CLAIMS)
        with pytest.raises(VaultUnavailableError):
            await lost.decrypt("vault:v1:AAAA", CLAIMS)

    async def test_vault_away_is_said_so(self) -> None:
        client = VaultClient("http://127.0.0.1:9", "role", SecretText("secret"))
        with pytest.raises(VaultUnavailableError):
            await VaultSessionCipher(client, mount="x").decrypt("vault:v1:AAAA", CLAIMS)
        await client.stop()
