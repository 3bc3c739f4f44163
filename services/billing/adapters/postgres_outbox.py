"""Events that wait in Postgres to be published."""

from typing import Final

from services.billing.ports import Outgoing, PublishAll
from shared.kernel.errors import BusUnavailableError
from shared.runtime.postgres import Pool, database_errors

# Events that no other replica is publishing at this moment.
_CLAIM: Final = (
    "SELECT event_id, routing_key, body FROM outbox ORDER BY event_id LIMIT $1 FOR UPDATE SKIP LOCKED"
)
_FORGET: Final = "DELETE FROM outbox WHERE event_id = ANY ($1::uuid[])"


class PostgresOutbox:
    """See `Outbox`. The rows stay locked while they are published, so replicas share the work."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def relay(self, publish: PublishAll, *, limit: int) -> int:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                found = await connection.fetch(_CLAIM, limit)
                waiting = [Outgoing(row["event_id"], row["routing_key"], row["body"]) for row in found]
                sent = await publish(waiting) if waiting else ()
                await connection.execute(_FORGET, list(sent))
        if len(sent) < len(waiting):
            raise BusUnavailableError(service="rabbitmq", retry_after_s=2)
        return len(sent)
