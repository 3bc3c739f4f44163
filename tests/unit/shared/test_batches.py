"""What waits in memory to be handed over, and for how long."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from prometheus_client import CollectorRegistry

from shared.runtime.batches import BatchConsumer
from shared.runtime.delivery import Delivery
from shared.runtime.metrics import BusMeters

pytestmark = pytest.mark.unit


class OneChannel:
    """A connection's: itself under itself. Consuming, it is sent `sends` messages."""

    def __init__(self, sends: int) -> None:
        self.is_closed = False
        self._sends = sends

    async def get_underlay_channel(self) -> "OneChannel":
        return self

    async def basic_consume(self, _queue: str, arrived: Any, **_options: object) -> None:
        for _ in range(self._sends):
            await arrived(DeliveredMessage(Basic.Deliver(), ContentHeader(), b"", self))  # type: ignore[arg-type]


async def test_what_waits_is_forgotten_with_its_connection() -> None:
    async def stuck(_: Sequence[Delivery]) -> list[Exception | None]:
        return await asyncio.Event().wait() and []

    meters = BusMeters(CollectorRegistry())
    consumer = BatchConsumer("q", stuck, realm="r", size=10, linger_ms=1, meters=meters)
    for _ in range(5):
        channel: Any = OneChannel(sends=30)
        await consumer._consume(channel)
        channel.is_closed = True
    assert len(consumer._waiting) == 30
