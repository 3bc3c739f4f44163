"""Credentials in Postgres, schema `key_vault` (the role's search path)."""

from collections.abc import Collection, Sequence
from uuid import UUID

import asyncpg

from services.key_vault.adapters import sql
from services.key_vault.adapters.postgres_consent import consent_of
from services.key_vault.domain.credentials import (
    CREDENTIALS_PER_USER_MAX,
    Ciphertext,
    CredentialChange,
    CredentialUse,
    NewCredential,
    OwnKeys,
    Place,
    StoredCredential,
)
from shared.kernel.errors import ConflictError
from shared.kernel.names import CredentialStatus, KeyService
from shared.runtime.postgres import Pool, database_errors


class PostgresCredentialStore:
    """See `CredentialStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, new: NewCredential) -> StoredCredential:
        place = new.place
        row = await self._insert(new)
        if row is None:
            with database_errors():
                row = await self._pool.fetchrow(sql.SAME, place.user_id, place.service, new.fingerprint)
        if row is None:
            raise ConflictError("the credential id is taken, or there are too many keys: revoke one")
        return _stored(row)

    async def _insert(self, new: NewCredential) -> asyncpg.Record | None:
        place = new.place
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql.ONE_BY_ONE, place.user_id)
                return await connection.fetchrow(
                    sql.INSERT,
                    place.credential_id,
                    place.user_id,
                    place.service,
                    new.ciphertext.text,
                    new.ciphertext.key_version,
                    new.fingerprint,
                    new.hint,
                    new.label,
                    place.base_url,
                    place.version,
                    new.status,
                    CREDENTIALS_PER_USER_MAX,
                )

    async def own_keys(self, user_id: str, services: Collection[KeyService]) -> OwnKeys:
        rows = await self._fetch(sql.OWN, user_id, list(services))
        credentials = tuple(_stored(row) for row in rows if row["id"] is not None)
        return OwnKeys(credentials, consent_of(rows[0]))

    async def all_of(self, user_id: str) -> tuple[StoredCredential, ...]:
        return tuple(map(_stored, await self._fetch(sql.ALL, user_id)))

    async def find(self, user_id: str, credential_id: UUID) -> StoredCredential | None:
        return await self._one(sql.FIND, user_id, credential_id)

    async def replace(self, new: NewCredential) -> StoredCredential | None:
        place = new.place
        try:
            return await self._one(
                sql.REPLACE,
                place.user_id,
                place.credential_id,
                place.service,
                place.version,
                new.ciphertext.text,
                new.ciphertext.key_version,
                new.fingerprint,
                new.hint,
                place.base_url,
                new.status,
            )
        except asyncpg.UniqueViolationError:
            raise ConflictError("another of your credentials holds this key") from None

    async def update(
        self, user_id: str, credential_id: UUID, change: CredentialChange
    ) -> StoredCredential | None:
        return await self._one(
            sql.UPDATE,
            user_id,
            credential_id,
            change.label,
            change.position,
            change.status,
            change.status_of_version,
        )

    async def remove(self, user_id: str, credential_id: UUID) -> bool:
        return bool(await self._fetch(sql.DELETE, user_id, credential_id))

    async def remove_all(self, user_id: str, service: KeyService | None) -> tuple[UUID, ...]:
        return tuple(row["id"] for row in await self._fetch(sql.DELETE_ALL, user_id, service))

    async def note_uses(self, uses: Sequence[CredentialUse]) -> None:
        columns = zip(*((use.credential_id, use.version, use.status, use.at) for use in uses), strict=True)
        if uses:
            await self._fetch(sql.NOTE_USES, *map(list, columns))

    async def encrypted_before(self, key_version: int, limit: int) -> tuple[StoredCredential, ...]:
        return tuple(map(_stored, await self._fetch(sql.ENCRYPTED_BEFORE, key_version, limit)))

    async def count_before(self, key_version: int) -> int:
        rows = await self._fetch(sql.COUNT_BEFORE, key_version)
        return int(rows[0][0])

    async def rewrap(self, rewrapped: Sequence[tuple[StoredCredential, Ciphertext]]) -> int:
        if not rewrapped:
            return 0
        columns = zip(
            *((old.place.credential_id, old.ciphertext, new.text, new.key_version) for old, new in rewrapped),
            strict=True,
        )
        return len(await self._fetch(sql.REWRAP, *map(list, columns)))

    async def _fetch(self, statement: str, *values: object) -> list[asyncpg.Record]:
        with database_errors():
            return await self._pool.fetch(statement, *values)

    async def _one(self, statement: str, *values: object) -> StoredCredential | None:
        rows = await self._fetch(statement, *values)
        return _stored(rows[0]) if rows else None


def _stored(row: asyncpg.Record) -> StoredCredential:
    service = KeyService(row["service"])
    return StoredCredential(
        place=Place(row["user_id"], row["id"], service, row["base_url"], row["version"]),
        ciphertext=row["ciphertext"],
        hint=row["hint"],
        label=row["label"],
        created_at=row["created_at"],
        position=row["position"],
        status=CredentialStatus(row["status"]),
        status_changed_at=row["status_changed_at"],
        last_used_at=row["last_used_at"],
        updated_at=row["updated_at"],
    )
