"""Tell the world what was charged and granted."""

from uuid import UUID

from services.billing.ports import Outbox, Publisher
from shared.contracts.message import Message

_AT_ONCE = 200


async def relay_events(*, outbox: Outbox, publisher: Publisher) -> None:
    """Publish what waits in the outbox, under its own ids: an event sent twice is told by its id.

    Raises BusUnavailableError, DatabaseUnavailableError; what was not sent stays.
    """

    async def publish(event_id: UUID, message: Message) -> None:
        await publisher.publish(message, event_id=str(event_id))

    while await outbox.relay(publish, limit=_AT_ONCE) == _AT_ONCE:
        pass
