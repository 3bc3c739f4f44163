"""The stream tailed under load while its broker is killed (kill -9) and comes back."""

import asyncio
import contextlib
import os
import signal
from contextlib import aclosing
from itertools import count
from typing import Final

import aio_pika
from aio_pika.exceptions import AMQPError

from infra.event_stream import Entry, EventStream
from infra.local.home import Home
from tests.realm import TestRealm

BEFORE: Final = 300
AFTER: Final = 300
_LOST: Final = (AMQPError, OSError, RuntimeError)


class Load:
    """Publishes numbers, each until it is confirmed: some come to be in the stream twice, and some, confirmed
    while a broker that is back has no leader for the stream yet, not at all.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.confirmed = 0

    async def run(self) -> None:
        numbers = count()
        number = next(numbers)
        while True:
            with contextlib.suppress(*_LOST):
                async with await aio_pika.connect(self._url) as connection:
                    exchange = await (await connection.channel()).get_exchange("usage", ensure=False)
                    while True:
                        await exchange.publish(
                            aio_pika.Message(str(number).encode()), "credits.x.v1", timeout=5
                        )
                        number = next(numbers)
                        self.confirmed = number
            await asyncio.sleep(0.2)

    async def until(self, confirmed: int) -> None:
        while self.confirmed < confirmed:
            await asyncio.sleep(0.02)


async def _tail(stream: EventStream, into: list[Entry]) -> None:
    async with aclosing(stream.read("first")) as batches:
        async for batch in batches:
            into += batch


async def tail_over_a_kill(home: Home, realm: TestRealm) -> tuple[list[str], list[Entry]]:
    """Return what was told meanwhile, and what was tailed."""
    told: list[str] = []
    tailed: list[Entry] = []
    load = Load(realm.admin["LATCHKEY_AMQP_URL"])
    stream = EventStream(realm.admin["LATCHKEY_ANALYST_AMQP_URL"], told.append)
    tasks = [asyncio.create_task(load.run()), asyncio.create_task(_tail(stream, tailed))]
    async with asyncio.timeout(120):
        await load.until(BEFORE)
        os.kill(int(home.pid_file("rabbitmq").read_text()), signal.SIGKILL)
        await load.until(load.confirmed + AFTER)
        while not tailed or int(tailed[-1].body) < load.confirmed - 1:
            await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return told, tailed
