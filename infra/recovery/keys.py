"""Keys and consents, brought up to what `keys.audit` tells: what was taken back stays taken back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from infra.bootstrap.postgres import Connection
from infra.recovery import sql
from infra.recovery.books import count
from infra.usage_stream import Entry
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.message import Envelope, read
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KEY_VAULT

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
    """By credential the oldest version that is still good, and what its state was said to be, when."""

    good_from: dict[UUID, int] = field(default_factory=dict)
    states: dict[UUID, tuple[int, str, datetime]] = field(default_factory=dict)
    consents: list[tuple[str, UUID, bool, bool, datetime]] = field(default_factory=list)

    def heed(self, envelope: Envelope) -> None:
        """Raise InvalidRequestError for what breaks its contract."""
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
        self.states[said.credential_id] = (said.version, said.status, at)


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
    ids, states = list(news.good_from), list(news.states.values())
    destroyed = await database.execute(sql.DESTROY, ids, [news.good_from[each] for each in ids])
    switched = await database.execute(sql.SWITCH, list(news.states), *_columns(states, 3))
    decided = await database.execute(sql.CONSENT, *_columns(news.consents, 5))
    return Changed(count(destroyed), count(switched), count(decided))


def _heed(news: News, body: bytes) -> None:
    try:
        news.heed(Envelope.decode(body))
    except InvalidRequestError:
        return


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [[row[place] for row in rows] for place in range(width)]
