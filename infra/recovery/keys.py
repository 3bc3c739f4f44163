"""Keys and consents, brought up to what `keys.audit` tells: what was taken back stays taken back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from infra.bootstrap.postgres import Connection
from infra.event_stream import Entry
from infra.recovery.rows import columns
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.message import Envelope, read
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KEY_VAULT
from shared.runtime.postgres import changed_rows

# A key that was revoked since, and one in whose place there is another: nobody is to use it again.
_DESTROY: Final = """
DELETE FROM key_vault.credentials
USING unnest($1::uuid[], $2::integer[]) AS told (id, version)
WHERE credentials.id = told.id AND credentials.version < told.version
"""
_SWITCH: Final = """
UPDATE key_vault.credentials
SET status = told.status, status_changed_at = told.at, status_said_at = told.at, updated_at = told.at
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::timestamptz[]) AS told (id, version, status, at)
WHERE credentials.id = told.id AND credentials.version = told.version AND credentials.status <> told.status
  AND greatest(credentials.updated_at, credentials.status_said_at) < told.at
"""
_DECIDE: Final = """
WITH told AS (
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::boolean[], $4::boolean[], $5::timestamptz[])
        AS decision (user_id, consent_id, platform, gateway, at)
), decided AS (
    INSERT INTO key_vault.consents (
        consent_id, user_id, allow_platform_fallback, allow_gateway_fallback, decided_at
    )
    SELECT consent_id, user_id, platform, gateway, at FROM told ON CONFLICT DO NOTHING
)
INSERT INTO key_vault.settings AS known (
    user_id, allow_platform_fallback, allow_gateway_fallback, consent_id, changed_at
)
SELECT DISTINCT ON (user_id) user_id, platform, gateway, consent_id, at FROM told ORDER BY user_id, at DESC
ON CONFLICT (user_id) DO UPDATE SET
    allow_platform_fallback = excluded.allow_platform_fallback,
    allow_gateway_fallback = excluded.allow_gateway_fallback,
    consent_id = excluded.consent_id, changed_at = excluded.changed_at
WHERE known.consent_id <> excluded.consent_id AND known.changed_at < excluded.changed_at
"""
_NO_VERSION: Final = 2**31 - 1
"""No key has it: older ones are all there were."""


@dataclass(frozen=True)
class Changed:
    """How many credentials were destroyed, how many switched on or off, how many users' consent changed."""

    destroyed: int
    switched: int
    consents: int


@dataclass
class News:
    """By credential the oldest version that is still good, and what its status was said to be, when."""

    good_from: dict[UUID, int] = field(default_factory=dict)
    statuses: dict[UUID, tuple[int, str, datetime]] = field(default_factory=dict)
    consents: list[tuple[str, UUID, bool, bool, datetime]] = field(default_factory=list)

    def heed(self, envelope: Envelope) -> None:
        """Raise InvalidRequestError, ValueError for what breaks its contract."""
        if envelope.type == KeyRevoked.event_type():
            self.good_from[read(envelope, KeyRevoked).credential_id] = _NO_VERSION
        elif envelope.type == KeyStored.event_type():
            self._heed_stored(read(envelope, KeyStored), envelope.time)
        elif envelope.type == ConsentChanged.event_type():
            said = read(envelope, ConsentChanged)
            allowed = said.allow_platform_fallback, said.allow_gateway_fallback
            self.consents.append((said.user_id, UUID(said.consent_id), *allowed, envelope.time))

    def _heed_stored(self, said: KeyStored, at: datetime) -> None:
        known = self.good_from.get(said.credential_id, 0)
        self.good_from[said.credential_id] = max(known, said.version)
        self.statuses[said.credential_id] = (said.version, said.status, at)


async def read_news(batches: AsyncIterator[list[Entry]], realm: str) -> News:
    """Return what key_vault told. What others published, or breaks its contract, is passed over."""
    news = News()
    async for batch in batches:
        for entry in batch:
            if entry.sender == f"{realm}_{KEY_VAULT}":
                _heed(news, entry.body)
    return news


async def apply(database: Connection, news: News) -> Changed:
    """In the caller's transaction. What the database learned later than it was told stands."""
    statuses = ((credential, *said) for credential, said in news.statuses.items())
    destroyed = await database.execute(_DESTROY, *columns(news.good_from.items(), 2))
    switched = await database.execute(_SWITCH, *columns(statuses, 4))
    decided = await database.execute(_DECIDE, *columns(news.consents, 5))
    return Changed(changed_rows(destroyed), changed_rows(switched), changed_rows(decided))


def _heed(news: News, body: bytes) -> None:
    try:
        news.heed(Envelope.decode(body))
    except (InvalidRequestError, ValueError):
        return
