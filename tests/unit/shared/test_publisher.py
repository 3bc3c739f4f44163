"""A publisher while its connection is being opened."""

import asyncio
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractRobustConnection

from shared.contracts.runs import CancelRun
from shared.kernel.errors import NotSentError
from shared.kernel.ids import new_id
from shared.runtime.publisher import Publisher

pytestmark = pytest.mark.unit


class SlowConnection:
    """Connected, and long in opening a channel."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.connected.set()

    async def channel(self, **_: Any) -> None:
        await asyncio.Event().wait()


async def test_until_it_is_open_nothing_is_sent() -> None:
    publisher = Publisher(service="api_edge", user="u")
    opening = asyncio.create_task(publisher.open(cast("AbstractRobustConnection", SlowConnection())))
    await asyncio.sleep(0)
    cancel = CancelRun(run_id=new_id())
    assert not publisher.connected
    for sending in (publisher.publish(cancel, event_id=None, subject=None), publisher.send(cancel)):
        with pytest.raises(NotSentError):
            await sending
    opening.cancel()
