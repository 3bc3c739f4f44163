"""What the store of consent promises, held by the fake and by Postgres."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.key_vault.adapters.postgres_consent import PostgresConsentStore
from services.key_vault.adapters.postgres_store import PostgresCredentialStore
from services.key_vault.domain.credentials import DEFAULT_CONSENT, Consent
from services.key_vault.ports import ConsentStore, CredentialStore
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.names import KEY_VAULT, KeyService
from tests.fakes.key_vault_store import InMemoryConsentStore, InMemoryCredentialStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

_SERVICES = tuple(KeyService)


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


class ConsentContract:
    async def test_the_default_holds_until_the_user_decides(
        self, consents: ConsentStore, store: CredentialStore, user: str
    ) -> None:
        assert await consents.consent(user) == DEFAULT_CONSENT
        assert (await store.own_keys(user, _SERVICES)).consent == DEFAULT_CONSENT

    async def test_a_decision_changes_what_was_said_and_no_more(
        self, consents: ConsentStore, store: CredentialStore, user: str
    ) -> None:
        holds = (True, False)
        ids = {DEFAULT_CONSENT.consent_id}
        for platform, gateway in [(False, None), (None, True), (None, None), (True, False), (False, True)]:
            decided = await consents.decide(user, allow_platform=platform, allow_gateway=gateway)
            holds = (
                holds[0] if platform is None else platform,
                holds[1] if gateway is None else gateway,
            )
            assert (decided.allow_platform, decided.allow_gateway) == holds
            assert decided.decided_at is not None
            assert decided.consent_id not in ids
            ids.add(decided.consent_id)
            assert await consents.consent(user) == decided
            assert (await store.own_keys(user, _SERVICES)).consent == decided
        assert await consents.consent(f"{user}-2") == DEFAULT_CONSENT

    async def test_decisions_at_once_all_count(self, consents: ConsentStore, user: str) -> None:
        decided = await asyncio.gather(
            consents.decide(user, allow_platform=False, allow_gateway=None),
            consents.decide(user, allow_platform=None, allow_gateway=True),
            *(consents.decide(user, allow_platform=None, allow_gateway=None) for _ in range(6)),
        )
        now = await consents.consent(user)
        assert (now.allow_platform, now.allow_gateway) == (False, True)
        assert len({one.consent_id for one in decided}) == len(decided)
        assert now in decided


class TestInMemoryConsent(ConsentContract):
    @pytest.fixture
    def store(self) -> InMemoryCredentialStore:
        return InMemoryCredentialStore()

    @pytest.fixture
    def consents(self, store: InMemoryCredentialStore) -> InMemoryConsentStore:
        return store.consents


class TestPostgresConsent(ConsentContract):
    @pytest.fixture
    async def pool(self, pool_for: PoolFor) -> "asyncpg.Pool[Any]":
        return await pool_for(KEY_VAULT)

    @pytest.fixture
    def store(self, pool: "asyncpg.Pool[Any]") -> CredentialStore:
        return PostgresCredentialStore(pool)

    @pytest.fixture
    def consents(self, pool: "asyncpg.Pool[Any]") -> ConsentStore:
        return PostgresConsentStore(pool)

    async def test_every_decision_is_kept(
        self, consents: ConsentStore, pool: "asyncpg.Pool[Any]", user: str
    ) -> None:
        decided = [
            await consents.decide(user, allow_platform=platform, allow_gateway=True)
            for platform in (False, True, None)
        ]
        rows = await pool.fetch("select * from consents where user_id = $1 order by decided_at", user)
        assert [_of(row) for row in rows] == decided

    async def test_postgres_away_is_said_so(self, user: str) -> None:
        lost = asyncpg.create_pool("postgres://nobody@127.0.0.1:9/x", min_size=0, timeout=1)
        async with lost:
            with pytest.raises(DatabaseUnavailableError):
                await PostgresConsentStore(lost).consent(user)
            with pytest.raises(DatabaseUnavailableError):
                await PostgresConsentStore(lost).decide(user, allow_platform=False, allow_gateway=None)


def _of(row: asyncpg.Record) -> Consent:
    assert isinstance(row["consent_id"], UUID)
    return Consent(
        row["allow_platform_fallback"],
        row["allow_gateway_fallback"],
        str(row["consent_id"]),
        row["decided_at"],
    )
