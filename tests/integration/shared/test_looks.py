"""Looks at queues, on a real broker."""

import gc
from collections import Counter

import pytest

from shared.contracts.topology import BILLING_USAGE
from shared.kernel.names import BILLING
from shared.runtime.bus import Bus
from shared.runtime.watchdog import QueueMissingError
from tests.realm import BusFor
from tests.waiting import until

pytestmark = pytest.mark.integration


def _of_the_client() -> Counter[str]:
    """What the AMQP client holds."""
    gc.collect()
    kinds = [type(each) for each in gc.get_objects()]
    own = [kind for kind in kinds if str(kind.__module__).startswith(("aio_pika", "aiormq"))]
    return Counter(kind.__qualname__ for kind in own)


async def _look(bus: Bus) -> None:
    assert await bus.waiting(BILLING_USAGE) == 0
    with pytest.raises(QueueMissingError):
        await bus.consumers("nowhere")


async def test_a_look_leaves_nothing_behind(bus_for: BusFor) -> None:
    bus = bus_for(BILLING)
    await bus.start()
    await _look(bus)
    before = _of_the_client()
    for _ in range(10):
        await _look(bus)
    await until(lambda: not _of_the_client() - before)  # but for what is under way just now
    await bus.stop()
