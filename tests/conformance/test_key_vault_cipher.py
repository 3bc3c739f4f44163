"""What encryption at rest promises, held by the fake and by Vault's Transit."""

from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import hvac
import orjson
import pytest

from services.key_vault.adapters.vault_cipher import VaultCipher
from services.key_vault.domain.credentials import Place, StoredCredential
from services.key_vault.ports import Cipher
from shared.kernel.errors import InternalError, VaultUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KEY_VAULT, KeyService
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient
from tests.fakes.key_vault import InMemoryCipher
from tests.realm import TestRealm

pytestmark = pytest.mark.conformance

_KEY = SecretText("sk-test-0123456789abcdefWXYZ")
_URL = "https://gateway.example/v1"


def a_place() -> Place:
    return Place("ada", new_id(), KeyService.OPENAI, None)


def other_places(place: Place) -> list[Place]:
    """Return places that differ in one thing each."""
    return [
        replace(place, user_id="eve"),
        replace(place, service=KeyService.GROQ),
        replace(place, base_url="https://evil.example"),
        replace(place, credential_id=new_id()),
        replace(place, version=place.version + 1),
    ]


def stored_at(place: Place, ciphertext: str) -> StoredCredential:
    return StoredCredential(place, ciphertext, "…", None, datetime.now(UTC))


class CipherContract:
    @pytest.mark.parametrize("key", ["x", "sk-test-0123456789abcdefWXYZ", "~" * 8192])
    @pytest.mark.parametrize("user_id", ["ada", "b5e7f0a2-…", "名前", "x" * 128])
    async def test_what_was_encrypted_decrypts(self, cipher: Cipher, key: str, user_id: str) -> None:
        for place in (replace(a_place(), user_id=user_id), replace(a_place(), base_url=_URL)):
            ciphertext = await cipher.encrypt(SecretText(key), place)
            assert (await cipher.decrypt(ciphertext.text, place)).reveal() == key

    async def test_a_ciphertext_says_its_version_and_nothing_of_the_key(self, cipher: Cipher) -> None:
        place = a_place()
        ciphertext = await cipher.encrypt(_KEY, place)
        assert ciphertext.text.startswith(f"vault:v{ciphertext.key_version}:")
        raw = b64decode(ciphertext.text.rpartition(":")[2])
        assert _KEY.reveal().encode() not in raw
        assert (await cipher.encrypt(_KEY, place)).text != ciphertext.text

    @pytest.mark.parametrize("base_url", [None, _URL])
    async def test_it_decrypts_in_its_own_place_only(self, cipher: Cipher, base_url: str | None) -> None:
        place = replace(a_place(), base_url=base_url)
        ciphertext = await cipher.encrypt(_KEY, place)
        for other in [*other_places(place), replace(place, base_url=None if base_url else _URL)]:
            with pytest.raises(InternalError):
                await cipher.decrypt(ciphertext.text, other)

    @pytest.mark.parametrize("ciphertext", ["", "nonsense", "vault:v1:", "vault:v1:AAAA", "vault:v9:AAAA"])
    async def test_nonsense_does_not_decrypt(self, cipher: Cipher, ciphertext: str) -> None:
        with pytest.raises(InternalError):
            await cipher.decrypt(ciphertext, a_place())

    async def test_a_changed_ciphertext_does_not_decrypt(self, cipher: Cipher) -> None:
        place = a_place()
        head, _, text = (await cipher.encrypt(_KEY, place)).text.rpartition(":")
        raw = bytearray(b64decode(text))
        raw[-1] ^= 1
        with pytest.raises(InternalError):
            await cipher.decrypt(f"{head}:{b64encode(raw).decode()}", place)

    async def test_a_fingerprint_tells_a_users_equal_keys(self, cipher: Cipher) -> None:
        place = a_place()
        known = await cipher.fingerprint(_KEY, place)
        assert await cipher.fingerprint(_KEY, replace(place, credential_id=new_id())) == known
        assert await cipher.fingerprint(SecretText("sk-other"), place) != known
        assert known.startswith("vault:v1:")

    async def test_a_fingerprint_tells_nothing_across_users(self, cipher: Cipher) -> None:
        place = a_place()
        elsewhere = other_places(place)[:3]
        prints = {await cipher.fingerprint(_KEY, one) for one in (place, *elsewhere)}
        assert len(prints) == 1 + len(elsewhere)

    async def test_a_rewrapped_key_is_the_same_in_the_same_place(self, cipher: Cipher) -> None:
        places = [
            replace(a_place(), user_id=f"user-{n}", version=n + 1, base_url=_URL if n % 2 else None)
            for n in range(5)
        ]
        stored = [
            stored_at(place, (await cipher.encrypt(SecretText(f"sk-{place.user_id}"), place)).text)
            for place in places
        ]
        fresh = await cipher.rewrap(stored)
        for old, new in zip(stored, fresh, strict=True):
            assert new is not None
            assert new.text != old.ciphertext
            assert new.key_version == await cipher.latest_version()
            assert (await cipher.decrypt(new.text, old.place)).reveal() == f"sk-{old.place.user_id}"
            with pytest.raises(InternalError):
                await cipher.decrypt(new.text, replace(old.place, version=old.place.version + 1))
        assert await cipher.rewrap([]) == []

    async def test_as_many_are_rewrapped_as_may_be_asked_for(self, cipher: Cipher) -> None:
        place = a_place()
        text = (await cipher.encrypt(SecretText("~" * 8192), place)).text
        broken = stored_at(a_place(), text)
        fresh = await cipher.rewrap([stored_at(place, text)] * 999 + [broken])
        assert [one is None for one in fresh] == [False] * 999 + [True]

    async def test_what_does_not_decrypt_does_not_stop_the_others(self, cipher: Cipher) -> None:
        good, moved = a_place(), a_place()
        text = (await cipher.encrypt(_KEY, good)).text
        fresh = await cipher.rewrap(
            [stored_at(moved, text), stored_at(good, text), stored_at(moved, "vault:v1:AAAA")]
        )
        assert [one is None for one in fresh] == [True, False, True]
        assert await cipher.rewrap([stored_at(moved, text)]) == [None]


class TestInMemoryCipher(CipherContract):
    @pytest.fixture
    def cipher(self) -> Cipher:
        return InMemoryCipher()


class TestVaultCipher(CipherContract):
    @pytest.fixture
    async def cipher(self, realm: TestRealm, vault_for: Callable[[str], Awaitable[VaultClient]]) -> Cipher:
        return VaultCipher(await vault_for(KEY_VAULT), mount=f"{realm.name}_transit")

    @pytest.mark.parametrize("version", [1, 7])
    async def test_the_bindings_are_those_of_the_design(
        self, cipher: Cipher, realm: TestRealm, version: int
    ) -> None:
        """Context = the user; associated data = canonical JSON of credential, service, version."""
        place = replace(a_place(), version=version)
        ciphertext = await cipher.encrypt(_KEY, place)
        bound = {"credential_id": str(place.credential_id), "service": "openai", "version": version}
        admin = hvac.Client(realm.admin["VAULT_ADDR"], realm.admin["VAULT_TOKEN"])
        answer = admin.secrets.transit.decrypt_data(
            "credentials",
            ciphertext.text,
            context=b64encode(b"ada").decode(),
            associated_data=b64encode(orjson.dumps(bound, option=orjson.OPT_SORT_KEYS)).decode(),
            mount_point=f"{realm.name}_transit",
        )
        admin.adapter.close()
        assert b64decode(answer["data"]["plaintext"]) == _KEY.reveal().encode()

    async def test_a_missing_mount_is_vaults_trouble(
        self, vault_for: Callable[[str], Awaitable[VaultClient]]
    ) -> None:
        lost = VaultCipher(await vault_for(KEY_VAULT), mount="nowhere_transit")
        with pytest.raises(VaultUnavailableError):
            await lost.encrypt(_KEY, a_place())
        with pytest.raises(VaultUnavailableError):
            await lost.decrypt("vault:v1:AAAA", a_place())
        with pytest.raises(VaultUnavailableError):
            await lost.fingerprint(_KEY, a_place())
        with pytest.raises(VaultUnavailableError):
            await lost.latest_version()

    async def test_vault_away_is_said_so(self) -> None:
        client = VaultClient("http://127.0.0.1:9", "role", SecretText("secret"))
        lost = VaultCipher(client, mount="x")
        with pytest.raises(VaultUnavailableError):
            await lost.decrypt("vault:v1:AAAA", a_place())
        await client.stop()
