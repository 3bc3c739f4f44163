"""Credentials and consent in Postgres, schema `key_vault` (the role's search path)."""

from collections.abc import Collection
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg

from services.key_vault.domain.credentials import (
    CREDENTIALS_PER_USER_MAX,
    DEFAULT_CONSENT,
    Consent,
    NewCredential,
    OwnKeys,
    Place,
    StoredCredential,
)
from shared.kernel.errors import ConflictError
from shared.kernel.names import KeyService
from shared.runtime.postgres import database_errors

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_INSERT: Final = """
insert into credentials
    (id, user_id, service, ciphertext, key_version, fingerprint, hint, label, base_url)
select $1, $2::text, $3, $4, $5, $6, $7, $8, $9
where (select count(*) from credentials where user_id = $2) < $10
on conflict do nothing
returning id, user_id, service, ciphertext, hint, label, base_url, created_at
"""

# A statement of its own: the insert's own snapshot does not see a row that a concurrent insert has just made.
_SAME: Final = """
select id, user_id, service, ciphertext, hint, label, base_url, created_at from credentials
where user_id = $1 and service = $2 and fingerprint = $3
"""

# One row at least, with nulls for a user who has no credential.
_OWN: Final = """
select c.id, c.user_id, c.service, c.ciphertext, c.hint, c.label, c.base_url, c.created_at,
       s.allow_platform_fallback, s.consent_id
from (select $1::text as user_id) asked
left join settings s using (user_id)
left join credentials c on c.user_id = asked.user_id and c.service = any($2::text[])
order by c.created_at desc, c.id desc
"""

_ALL: Final = """
select id, user_id, service, ciphertext, hint, label, base_url, created_at from credentials
where user_id = $1 order by created_at desc, id desc
"""

_DELETE: Final = "delete from credentials where user_id = $1 and id = $2 returning id"


class PostgresCredentialStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, new: NewCredential) -> StoredCredential:
        place = new.place
        with database_errors():
            row = await self._pool.fetchrow(
                _INSERT,
                place.credential_id,
                place.user_id,
                place.service,
                new.ciphertext.text,
                new.ciphertext.key_version,
                new.fingerprint,
                new.hint,
                new.label,
                place.base_url,
                CREDENTIALS_PER_USER_MAX,
            ) or await self._pool.fetchrow(_SAME, place.user_id, place.service, new.fingerprint)
        if row is None:
            raise ConflictError("the credential id is taken, or there are too many keys: revoke one")
        return _stored(row)

    async def own_keys(self, user_id: str, services: Collection[KeyService]) -> OwnKeys:
        with database_errors():
            rows = await self._pool.fetch(_OWN, user_id, list(services))
        credentials = tuple(_stored(row) for row in rows if row["id"] is not None)
        return OwnKeys(credentials, _consent(rows[0]))

    async def all_of(self, user_id: str) -> tuple[StoredCredential, ...]:
        with database_errors():
            rows = await self._pool.fetch(_ALL, user_id)
        return tuple(map(_stored, rows))

    async def remove(self, user_id: str, credential_id: UUID) -> bool:
        with database_errors():
            return await self._pool.fetchval(_DELETE, user_id, credential_id) is not None


def _stored(row: asyncpg.Record) -> StoredCredential:
    place = Place(row["user_id"], row["id"], KeyService(row["service"]), row["base_url"])
    return StoredCredential(place, row["ciphertext"], row["hint"], row["label"], row["created_at"])


def _consent(row: asyncpg.Record) -> Consent:
    if row["consent_id"] is None:
        return DEFAULT_CONSENT
    return Consent(allowed=row["allow_platform_fallback"], consent_id=str(row["consent_id"]))
