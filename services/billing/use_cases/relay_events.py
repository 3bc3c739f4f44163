"""Tell the world what was charged and granted."""

from services.billing.ports import Outbox, PublishAll

_AT_ONCE = 500


async def relay_events(*, outbox: Outbox, publish: PublishAll) -> None:
    """Publish what waits in the outbox, under its own ids: an event sent twice is told by its id.

    Raises BusUnavailableError, DatabaseUnavailableError; what was not sent stays.
    """
    while await outbox.relay(publish, limit=_AT_ONCE) == _AT_ONCE:
        pass
