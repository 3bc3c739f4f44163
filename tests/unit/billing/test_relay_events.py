"""What is told of charges and grants."""

import pytest

from services.billing.domain.movement import plan
from services.billing.use_cases.relay_events import relay_events
from shared.kernel.errors import BusUnavailableError
from tests.fakes.billing import InMemoryPublisher, grant
from tests.fakes.billing_ledger import InMemoryLedgerStore

pytestmark = pytest.mark.unit


async def _with_events(store: InMemoryLedgerStore, count: int) -> None:
    for number in range(count):
        await store.move(grant("ada", 5, f"key-{number}"), plan)


async def test_events_wait_for_the_bus_and_keep_their_ids() -> None:
    store, publisher = InMemoryLedgerStore(), InMemoryPublisher()
    await _with_events(store, 1)
    waiting = list(store.events)
    publisher.error = BusUnavailableError()
    with pytest.raises(BusUnavailableError):
        await relay_events(outbox=store, publish=publisher.publish_all)
    publisher.error = None
    await relay_events(outbox=store, publish=publisher.publish_all)
    assert publisher.published == waiting
    assert store.events == []


async def test_what_was_not_confirmed_waits_alone() -> None:
    store, publisher = InMemoryLedgerStore(), InMemoryPublisher()
    await _with_events(store, 3)
    waiting = list(store.events)
    publisher.refused = 1
    with pytest.raises(BusUnavailableError):
        await relay_events(outbox=store, publish=publisher.publish_all)
    assert store.events == waiting[2:]


async def test_all_that_waits_goes_out() -> None:
    store, publisher = InMemoryLedgerStore(), InMemoryPublisher()
    await _with_events(store, 601)
    await relay_events(outbox=store, publish=publisher.publish_all)
    assert len(publisher.published) == 601
    assert store.events == []
