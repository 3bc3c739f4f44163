"""Whether a database can be recovered, and from when on it may not know what happened."""

from datetime import datetime
from typing import Final

from infra.bootstrap.postgres import Connection
from infra.event_stream import FIRST
from infra.recovery.errors import RecoveryError
from shared.kernel.names import SERVICES

_CONNECTED: Final = """
SELECT DISTINCT usename FROM pg_stat_activity
WHERE datname = current_database() AND usename = ANY ($1::text[])
ORDER BY usename
"""
# An hour before the oldest of what was recorded last, and of what has ended and was not recorded.
_SINCE: Final = """
SELECT least(
    (SELECT min((event ->> 'finished_at')::timestamptz)
     FROM (SELECT event FROM billing.usage ORDER BY seq DESC LIMIT 1000) AS last),
    (SELECT created_at FROM billing.transfers ORDER BY seq DESC LIMIT 1),
    (SELECT min(ended_at) FROM inference.attempts
     WHERE outcome IS NOT NULL AND NOT EXISTS (
         SELECT FROM billing.usage WHERE usage.run_id = attempts.run_id AND usage.attempt = attempts.attempt
     ))
) - interval '1 hour'
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


async def begin(database: Connection, start: datetime | str | None) -> datetime | str:
    """Return from when on the streams are to be read: `start`, or what the database says itself.

    Raises RecoveryError for a time that is too late.
    """
    known: datetime | None = await database.fetchval(_SINCE)
    if isinstance(start, datetime) and known is not None and start > known:
        raise RecoveryError(f"{start.isoformat()} is too late: read from {known.isoformat()} on, or earlier")
    return start or known or FIRST
