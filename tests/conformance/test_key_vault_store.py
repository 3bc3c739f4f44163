"""What the credential store promises, held by the fake and by Postgres."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.key_vault.adapters.postgres_store import PostgresCredentialStore
from services.key_vault.domain.credentials import (
    CREDENTIALS_PER_USER_MAX,
    DEFAULT_CONSENT,
    Ciphertext,
    Consent,
    NewCredential,
    Place,
)
from services.key_vault.ports import CredentialStore
from shared.kernel.errors import ConflictError, DatabaseUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KEY_VAULT, KeyService
from tests.fakes.key_vault import InMemoryCredentialStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

Decide = Callable[[str, Consent], Awaitable[None]]

_SERVICES = tuple(KeyService)


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


def a_credential(
    user: str,
    fingerprint: str = "AAAA",
    *,
    credential_id: UUID | None = None,
    service: KeyService = KeyService.OPENAI,
    base_url: str | None = None,
) -> NewCredential:
    place = Place(user, credential_id or new_id(), service, base_url)
    return NewCredential(
        place, Ciphertext("vault:v1:AAAA", 1), f"vault:v1:{fingerprint}", hint="sk-…1f9c", label="laptop"
    )


class StoreContract:
    async def test_what_was_added_is_there(self, store: CredentialStore, user: str) -> None:
        new = a_credential(user, service=KeyService.GATEWAY, base_url="https://gateway.example/v1")
        stored = await store.add(new)
        assert (stored.place, stored.ciphertext, stored.hint, stored.label) == (
            new.place,
            "vault:v1:AAAA",
            "sk-…1f9c",
            "laptop",
        )
        assert stored.created_at.tzinfo is not None
        assert await store.all_of(user) == (stored,)
        assert (await store.own_keys(user, _SERVICES)).credentials == (stored,)

    async def test_an_equal_key_is_the_credential_already_there(
        self, store: CredentialStore, user: str
    ) -> None:
        first = await store.add(a_credential(user))
        assert await store.add(a_credential(user)) == first
        assert await store.add(a_credential(user, credential_id=first.place.credential_id)) == first
        assert await store.all_of(user) == (first,)

    async def test_another_user_service_or_key_is_another_credential(
        self, store: CredentialStore, user: str
    ) -> None:
        first = await store.add(a_credential(user))
        others = [
            await store.add(a_credential(f"{user}-2")),
            await store.add(a_credential(user, service=KeyService.GROQ)),
            await store.add(a_credential(user, "BBBB")),
        ]
        assert first not in others
        assert len(await store.all_of(user)) == 3

    async def test_equal_keys_at_once_are_one_credential(self, store: CredentialStore, user: str) -> None:
        stored = await asyncio.gather(*(store.add(a_credential(user)) for _ in range(12)))
        assert len({one.credential_id for one in stored}) == 1
        assert len(await store.all_of(user)) == 1

    async def test_a_taken_id_is_a_conflict(self, store: CredentialStore, user: str) -> None:
        first = await store.add(a_credential(user))
        with pytest.raises(ConflictError):
            await store.add(a_credential(user, "BBBB", credential_id=first.place.credential_id))
        with pytest.raises(ConflictError):
            await store.add(a_credential(f"{user}-2", credential_id=first.place.credential_id))
        assert await store.all_of(user) == (first,)

    async def test_there_is_a_limit_per_user(self, store: CredentialStore, user: str) -> None:
        for number in range(CREDENTIALS_PER_USER_MAX):
            await store.add(a_credential(user, f"{number:04}"))
        with pytest.raises(ConflictError):
            await store.add(a_credential(user, "BBBB"))
        await store.add(a_credential(user, "0000"))
        await store.add(a_credential(f"{user}-2", "BBBB"))
        newest = (await store.all_of(user))[0]
        assert await store.remove(user, newest.place.credential_id)
        await store.add(a_credential(user, "BBBB"))

    async def test_the_newest_comes_first(self, store: CredentialStore, user: str) -> None:
        added = [await store.add(a_credential(user, f"{number:04}")) for number in range(4)]
        assert await store.all_of(user) == tuple(reversed(added))
        assert (await store.own_keys(user, _SERVICES)).credentials == tuple(reversed(added))

    async def test_only_the_services_asked_for(self, store: CredentialStore, user: str) -> None:
        openai = await store.add(a_credential(user))
        await store.add(a_credential(user, service=KeyService.GROQ))
        openrouter = await store.add(a_credential(user, service=KeyService.OPENROUTER))
        await store.add(a_credential(f"{user}-2"))
        asked = (KeyService.GATEWAY, KeyService.OPENAI, KeyService.OPENROUTER)
        assert (await store.own_keys(user, asked)).credentials == (openrouter, openai)

    async def test_consent_is_given_until_the_user_decides(
        self, store: CredentialStore, decide: Decide, user: str
    ) -> None:
        assert await store.own_keys(user, _SERVICES) == await store.own_keys(f"{user}-2", _SERVICES)
        assert (await store.own_keys(user, _SERVICES)).consent == DEFAULT_CONSENT
        for allowed in (False, True):
            decision = Consent(allowed, str(new_id()))
            await decide(user, decision)
            assert (await store.own_keys(user, _SERVICES)).consent == decision
            assert (await store.own_keys(f"{user}-2", _SERVICES)).consent == DEFAULT_CONSENT
        stored = await store.add(a_credential(user))
        own = await store.own_keys(user, _SERVICES)
        assert (own.credentials, own.consent) == ((stored,), decision)

    async def test_a_removed_credential_is_gone(self, store: CredentialStore, user: str) -> None:
        stored = await store.add(a_credential(user))
        assert not await store.remove(f"{user}-2", stored.place.credential_id)
        assert not await store.remove(user, new_id())
        assert await store.remove(user, stored.place.credential_id)
        assert not await store.remove(user, stored.place.credential_id)
        assert await store.all_of(user) == ()


class TestInMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> InMemoryCredentialStore:
        return InMemoryCredentialStore()

    @pytest.fixture
    def decide(self, store: InMemoryCredentialStore) -> Decide:
        return store.decide


class TestPostgresStore(StoreContract):
    @pytest.fixture
    async def pool(self, pool_for: PoolFor) -> "asyncpg.Pool[Any]":
        return await pool_for(KEY_VAULT)

    @pytest.fixture
    def store(self, pool: "asyncpg.Pool[Any]") -> CredentialStore:
        return PostgresCredentialStore(pool)

    @pytest.fixture
    def decide(self, pool: "asyncpg.Pool[Any]") -> Decide:
        async def decide(user_id: str, consent: Consent) -> None:
            await pool.execute(
                "insert into settings (user_id, allow_platform_fallback, consent_id) values ($1, $2, $3) "
                "on conflict (user_id) do update set allow_platform_fallback = $2, consent_id = $3",
                user_id,
                consent.allowed,
                UUID(consent.consent_id),
            )

        return decide

    @pytest.mark.parametrize("ciphertext", ["sk-test-0123456789abcdefWXYZ", "", "vault:v1:sk-plain"])
    async def test_the_table_takes_no_plain_key(
        self, store: CredentialStore, user: str, ciphertext: str
    ) -> None:
        place = Place(user, new_id(), KeyService.OPENAI, None)
        plain = NewCredential(place, Ciphertext(ciphertext, 1), "vault:v1:AAAA", "…", None)
        with pytest.raises(asyncpg.CheckViolationError):
            await store.add(plain)

    @pytest.mark.parametrize(
        "statement",
        [
            "update credentials set base_url = 'https://evil.example'",
            "truncate credentials",
            "delete from settings",
            "create table mine ()",
        ],
    )
    async def test_the_role_may_no_more_than_it_must(self, pool: "asyncpg.Pool[Any]", statement: str) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)

    async def test_postgres_away_is_said_so(self, user: str) -> None:
        lost = asyncpg.create_pool("postgres://nobody@127.0.0.1:9/x", min_size=0, timeout=1)
        async with lost:
            with pytest.raises(DatabaseUnavailableError):
                await PostgresCredentialStore(lost).own_keys(user, _SERVICES)
