"""What is published waits for the streams that keep it."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiormq
import pytest
from aio_pika.exceptions import ChannelNotFoundEntity

from shared.contracts import topology
from shared.runtime.streams import Streams

pytestmark = pytest.mark.unit


class BrokerJustStarted:
    """A robust connection as far as it is asked: `answers` come one after another, then all is well."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.close_callbacks: set[Callable[..., Any]] = set()
        self.transport: Any = self
        self.connection = self

    async def channel(self, *, publisher_confirms: bool) -> "BrokerJustStarted":
        assert not publisher_confirms
        return self

    async def queue_declare(self, queue: str, *, passive: bool, **_: object) -> None:
        assert passive
        self.asked.append(queue)
        if self.answers:
            raise self.answers.pop(0)

    async def close(self) -> None:
        await asyncio.sleep(0)

    def lose(self) -> None:
        for callback in self.close_callbacks:
            callback(self)


def streams_at(broker: BrokerJustStarted) -> Streams:
    return Streams(broker)  # type: ignore[arg-type]


def test_the_streams_of_an_exchange_are_those_bound_to_it() -> None:
    assert topology.streams_of("usage") == (topology.USAGE_EVENTS,)
    assert topology.streams_of(topology.KEYS) == (topology.KEYS_AUDIT,)
    assert topology.streams_of("inference") == ()


async def test_a_stream_without_a_leader_is_waited_for() -> None:
    broker = BrokerJustStarted(ChannelNotFoundEntity(), ChannelNotFoundEntity())
    await streams_at(broker).wait_for("usage")
    assert broker.asked == [topology.USAGE_EVENTS] * 3


async def test_it_is_asked_once_a_connection() -> None:
    broker = BrokerJustStarted()
    streams = streams_at(broker)
    await asyncio.gather(*(streams.wait_for("usage") for _ in range(5)))
    assert len(broker.asked) == 1
    broker.lose()
    await streams.wait_for("usage")
    assert len(broker.asked) == 2


async def test_an_exchange_without_streams_is_never_waited_for() -> None:
    broker = BrokerJustStarted()
    await streams_at(broker).wait_for("inference")
    assert broker.asked == []


async def test_a_lost_connection_is_the_publishers_business() -> None:
    broker = BrokerJustStarted(ConnectionError())
    with pytest.raises(ConnectionError):
        await streams_at(broker).wait_for("usage")
    broker.transport = None
    with pytest.raises(aiormq.exceptions.ChannelInvalidStateError):
        await streams_at(broker).wait_for("usage")


async def test_a_broker_that_does_not_let_us_ask_is_taken_at_its_word() -> None:
    broker = BrokerJustStarted(aiormq.exceptions.ChannelAccessRefused())
    await streams_at(broker).wait_for("usage")
    assert len(broker.asked) == 1
