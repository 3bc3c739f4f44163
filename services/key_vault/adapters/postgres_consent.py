"""Consent in Postgres: what holds now in `settings`, every decision ever taken in `consents`."""

import asyncpg

from services.key_vault.adapters import sql
from services.key_vault.domain.credentials import DEFAULT_CONSENT, Consent
from shared.kernel.ids import new_id
from shared.runtime.postgres import Pool, database_errors


class PostgresConsentStore:
    """See `ConsentStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def consent(self, user_id: str) -> Consent:
        with database_errors():
            row = await self._pool.fetchrow(sql.CONSENT, user_id)
        return DEFAULT_CONSENT if row is None else consent_of(row)

    async def decide(
        self, user_id: str, *, allow_platform: bool | None, allow_gateway: bool | None
    ) -> Consent:
        with database_errors():
            row = await self._pool.fetchrow(
                sql.DECIDE,
                user_id,
                allow_platform,
                allow_gateway,
                new_id(),
                DEFAULT_CONSENT.allow_platform,
                DEFAULT_CONSENT.allow_gateway,
            )
        assert row is not None  # noqa: S101 - an upsert returns its row
        return consent_of(row)


def consent_of(row: asyncpg.Record) -> Consent:
    """Read the columns of `settings`; all null for a user who never decided."""
    if row["consent_id"] is None:
        return DEFAULT_CONSENT
    return Consent(
        allow_platform=row["allow_platform_fallback"],
        allow_gateway=row["allow_gateway_fallback"],
        consent_id=str(row["consent_id"]),
        decided_at=row["changed_at"],
    )
