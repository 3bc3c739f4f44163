"""What is told of charges and grants."""

import pytest

from services.billing.use_cases.relay_events import relay_events
from shared.kernel.errors import BusUnavailableError
from tests.fakes.billing import InMemoryLedgerStore, InMemoryPublisher, granted

pytestmark = pytest.mark.unit


async def test_events_wait_for_the_bus_and_keep_their_ids() -> None:
    store, publisher = InMemoryLedgerStore(), InMemoryPublisher()
    await store.grant(granted("ada", 5), "key")
    event_id, event = store.events[0]
    publisher.error = BusUnavailableError()
    with pytest.raises(BusUnavailableError):
        await relay_events(outbox=store, publisher=publisher)
    publisher.error = None
    await relay_events(outbox=store, publisher=publisher)
    assert publisher.published == [(str(event_id), event)]
    assert store.events == []
