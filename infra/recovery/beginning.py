"""Whether a database can be recovered, and since when it may not know what happened."""

from datetime import UTC, datetime
from typing import Final

from infra.bootstrap.postgres import Connection
from infra.recovery.errors import RecoveryError
from shared.kernel.names import SERVICES

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Before all there is."""

_CONNECTED: Final = """
SELECT DISTINCT usename FROM pg_stat_activity
WHERE datname = current_database() AND usename = ANY ($1::text[])
ORDER BY usename
"""
# An hour before the oldest of what was recorded last, and of what has ended and was not recorded; or what
# somebody was left out from.
_SINCE: Final = """
SELECT least(
    (SELECT min((event ->> 'finished_at')::timestamptz)
     FROM (SELECT event FROM billing.usage ORDER BY seq DESC LIMIT 1000) AS last) - interval '1 hour',
    (SELECT created_at FROM billing.transfers ORDER BY seq DESC LIMIT 1) - interval '1 hour',
    (SELECT min(ended_at) FROM inference.attempts
     WHERE outcome IS NOT NULL AND NOT EXISTS (
         SELECT FROM billing.usage WHERE usage.run_id = attempts.run_id AND usage.attempt = attempts.attempt
     )) - interval '1 hour',
    (SELECT min(since) FROM billing.unrecovered)
)
"""


async def check_alone(database: Connection, realm: str) -> None:
    """A worker that runs would end as interrupted what the stream says was completed.

    Raises RecoveryError while a service is connected, and for another realm's database.
    """
    name = await database.fetchval("SELECT current_database()")
    if name != realm:
        raise RecoveryError(f"the database {name} is not realm {realm}'s")
    logins = [f"{realm}_{service}" for service in SERVICES]
    connected = [row["usename"] for row in await database.fetch(_CONNECTED, logins)]
    if connected:
        raise RecoveryError(f"stop the services first; connected to the database: {', '.join(connected)}")


async def begin(database: Connection, start: datetime | None) -> datetime:
    """Return since when the database may not know what happened, or `start`, if that is earlier."""
    since: datetime | None = await database.fetchval(_SINCE)
    return EPOCH if since is None else min(since, start or since)
