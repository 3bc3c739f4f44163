"""Reading the usage stream as an analyst does: every offset once, from where one likes, once or for ever."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

import aiormq
import orjson
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError, ChannelInvalidStateError
from pamqp.common import FieldTable

from shared.contracts.topology import USAGE_EVENTS

FIRST, LAST, NEXT = "first", "last", "next"
PATIENCE_S: Final = 60.0
"""How long a read that has an end waits for a broker that went away."""

_PREFETCH: Final = 1000
_ACK_AFTER: Final = 250
_WHOLE_CHUNK: Final = 65_535  # no chunk has more entries, no prefetch can be more
_SETTLE_S: Final = 0.05
_ANSWER_S: Final = 20.0
_CLOSE_S: Final = 2.0
_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0)
_PAUSE_MAX_S: Final = 5.0
_LOST: Final = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)

Start: TypeAlias = str | int | datetime
"""`first`, `next`, an offset, or a time: from the broker's chunk on, so some earlier events come, too."""
Tell: TypeAlias = Callable[[str], None]


class StreamError(OSError):
    """The stream cannot be read, or not any more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at one offset. `sender`: the broker-validated user who published it; empty when none is."""

    offset: int
    sender: str
    body: bytes


class UsageStream:
    """The stream `usage.events`. `tell` hears of lost connections and of what is no longer kept."""

    def __init__(self, amqp_url: str, tell: Tell = lambda _: None, *, patience_s: float = PATIENCE_S) -> None:
        self._url = amqp_url
        self._tell = tell
        self._patience_s = patience_s
        # It logs what is raised here as well.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)

    async def end(self) -> int:
        """Return the offset after the last event that is there now; 0 without any. Raises StreamError."""
        async with self._asked() as connection:
            return await _end(connection)

    async def find(self, start: Start) -> int:
        """Return the offset at which reading from `start` begins. Raises StreamError."""
        if isinstance(start, int):
            return start
        async with self._asked() as connection:
            return await _find(connection, start)

    async def read(self, start: Start, end: int | None = None) -> AsyncGenerator[list[Entry], None]:
        """Yield what is there from `start` up to before the offset `end`, or for ever, in batches.

        A lost connection is made anew, and goes on after what was yielded last. Raises StreamError when the
        broker cannot be read at first, when (if there is an end) it is away for longer than the patience, or
        when the stream was made anew.
        """
        place = _Place(await self.find(start), end, self._tell)
        if isinstance(start, int):
            await self.end()  # says at once when there is no broker
        while not place.is_reached:
            try:
                async with aclosing(self._connected(place)) as batches:
                    async for batch in batches:
                        yield batch
            except StreamError:
                raise
            except _LOST as error:
                await self._wait_to_retry(place, error)

    async def _connected(self, place: "_Place") -> AsyncGenerator[list[Entry], None]:
        async with _connection(self._url) as connection:
            end = await _end(connection)
            place.check(end)
            inbox = _Inbox(await _channel(connection))
            await inbox.attach(min(place.wanted, end))
            place.connected()
            while not place.is_reached:
                if batch := place.heed(await inbox.take()):
                    yield batch

    async def _wait_to_retry(self, place: "_Place", error: Exception) -> None:
        waited_s, pause_s = place.lost(error)
        if place.end is not None and waited_s > self._patience_s:
            raise StreamError(f"the broker has been away for {waited_s:.0f} s: {_said(error)}") from error
        await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[AbstractConnection]:
        try:
            async with _connection(self._url) as connection:
                yield connection
        except ConnectionRefusedError:
            raise
        except _LOST as error:
            raise StreamError(f"the broker gives no usage events: {_said(error)}") from error


class _Place:
    """How far a reading has come."""

    def __init__(self, wanted: int, end: int | None, tell: Tell) -> None:
        self.wanted = wanted
        self.end = end
        self._tell = tell
        self._has_read = False
        self._is_fresh = False
        self._lost_at: float | None = None
        self._pauses = self._rising()

    @property
    def is_reached(self) -> bool:
        return self.end is not None and self.wanted >= self.end

    def check(self, end: int) -> None:
        """Raise StreamError when the stream ends before what was read of it."""
        if self._has_read and end < self.wanted:
            raise StreamError(f"the stream was made anew: read up to {self.wanted}, it ends at {end}")

    def connected(self) -> None:
        if self._lost_at is not None:
            self._tell(f"the broker is back; going on at offset {self.wanted}")
        self._is_fresh, self._lost_at, self._pauses = True, None, self._rising()

    def lost(self, error: Exception) -> tuple[float, float]:
        """Return for how many seconds it has been lost, and how many to wait."""
        now = asyncio.get_running_loop().time()
        if self._lost_at is None:
            self._lost_at = now
            self._tell(f"lost the broker: {_said(error)}")
        return now - self._lost_at, next(self._pauses)

    def heed(self, entries: list[Entry]) -> list[Entry]:
        """Return what was not read before and is before the end."""
        if entries and entries[-1].offset >= self.wanted:
            self._tell_of_gap(entries[0].offset)
            entries = [entry for entry in entries if entry.offset >= self.wanted]
            self.wanted, self._has_read = entries[-1].offset + 1, True
            return entries if self.end is None else [entry for entry in entries if entry.offset < self.end]
        return []

    def _tell_of_gap(self, offset: int) -> None:
        """What follows a (re)connection begins later only when the stream has dropped what was before."""
        if self._is_fresh and offset > self.wanted:
            self._tell(f"the stream no longer keeps offsets {self.wanted} to {offset - 1}")
        self._is_fresh = False

    def _rising(self) -> Iterator[float]:
        return itertools.chain(_PAUSES_S, itertools.repeat(_PAUSE_MAX_S))


class _Inbox:
    """A consumer's deliveries. Acknowledged are many at once, and all when there are no more."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._waiting: list[DeliveredMessage] = []
        self._wake = asyncio.Event()
        self._taken: tuple[int, int] = (0, 0)
        self._is_cancelled = False

    async def attach(self, offset: Start, *, prefetch: int = _PREFETCH) -> None:
        self._channel.closing.add_done_callback(lambda _: self._wake.set())
        self._channel.on_consumer_cancel_callbacks.add(self._cancelled)
        await self._channel.basic_qos(prefetch_count=prefetch, timeout=_ANSWER_S)
        arguments: FieldTable = {"x-stream-offset": offset}
        await self._channel.basic_consume(USAGE_EVENTS, self._put, arguments=arguments, timeout=_ANSWER_S)

    async def take(self) -> list[Entry]:
        """Wait for what is next. Raises ConnectionError when nothing will come any more."""
        if not self._waiting:
            await self._acknowledge(at_least=1)
        while not self._waiting:
            if self._is_cancelled or self._channel.is_closed:
                raise ConnectionError("the broker ended the reading")
            self._wake.clear()
            await self._wake.wait()
        messages, self._waiting = self._waiting, []
        self._taken = (self._taken[0] + len(messages), messages[-1].delivery_tag or 0)
        await self._acknowledge(at_least=_ACK_AFTER)
        return [_entry(message) for message in messages]

    def offsets(self) -> list[int]:
        """Return the offsets of what has come and was not taken."""
        return [_offset(message) for message in self._waiting]

    async def wait(self, timeout_s: float) -> None:
        """Wait for the first message; none in this time is no error."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    async def _acknowledge(self, *, at_least: int) -> None:
        count, tag = self._taken
        if count >= at_least:
            await self._channel.basic_ack(tag, multiple=True, wait=False)
            self._taken = (0, tag)

    async def _put(self, message: DeliveredMessage) -> None:
        self._waiting.append(message)
        self._wake.set()

    def _cancelled(self, _frame: object) -> None:
        self._is_cancelled = True
        self._wake.set()


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[AbstractConnection]:
    async with asyncio.timeout(_ANSWER_S):
        connection = await aiormq.connect(url, client_properties={"connection_name": "latchkey usage"})
    try:
        yield connection
    finally:
        with contextlib.suppress(*_LOST):
            async with asyncio.timeout(_CLOSE_S):
                await connection.close()


async def _find(connection: AbstractConnection, start: Start) -> int:
    offsets = await _peek(connection, start, prefetch=1) if start != NEXT else []
    return offsets[0] if offsets else await _end(connection)


async def _end(connection: AbstractConnection) -> int:
    offsets = await _peek(connection, LAST, prefetch=_WHOLE_CHUNK)
    return offsets[-1] + 1 if offsets else 0


async def _peek(connection: AbstractConnection, start: Start, *, prefetch: int) -> list[int]:
    """Return the offsets that a new consumer is given at once.

    The broker delivers them before it answers the next question on the same channel; a little later still,
    should another version of it not.
    """
    channel = await _channel(connection)
    inbox = _Inbox(channel)
    await inbox.attach(start, prefetch=prefetch)
    count = (await channel.queue_declare(USAGE_EVENTS, passive=True, timeout=_ANSWER_S)).message_count
    if count and not isinstance(start, datetime):
        await inbox.wait(_ANSWER_S)
    offsets: list[int] = []
    while True:
        await asyncio.sleep(_SETTLE_S)
        offsets, before = inbox.offsets(), offsets
        if offsets == before or len(offsets) >= prefetch:
            break
    await channel.close()
    return offsets


async def _channel(connection: AbstractConnection) -> AbstractChannel:
    if connection.is_closed:
        raise ConnectionError("the connection is lost")
    return await connection.channel(publisher_confirms=False)


def _entry(message: DeliveredMessage) -> Entry:
    return Entry(_offset(message), message.header.properties.user_id or "", message.body)


def _offset(message: DeliveredMessage) -> int:
    headers = message.header.properties.headers or {}
    return int(str(headers["x-stream-offset"]))


def _said(error: Exception) -> str:
    return str(error) or repr(error)


async def events(amqp_url: str, offset: Start, *, follow: bool) -> AsyncGenerator[str, None]:
    """Yield the stream's events from `offset` as JSON texts: all that are there now, or for ever.

    What is no JSON object was put there by no service, and is passed over. Raises StreamError.
    """
    stream = UsageStream(amqp_url)
    end = None if follow else await stream.end()
    async with aclosing(stream.read(offset, end)) as batches:
        async for batch in batches:
            for entry in batch:
                if _is_object(entry.body):
                    yield entry.body.decode()


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return False
