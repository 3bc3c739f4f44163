"""Reading a stream, such as that of usage: every offset once, from where one likes, once or for ever."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Final, TypeAlias

import orjson

from infra.stream_link import Entry, Start, StreamLink, linked
from shared.contracts.topology import USAGE_EVENTS

__all__ = ["FIRST", "LAST", "NEXT", "Entry", "EventStream", "Start", "StreamError", "Tell", "events"]

FIRST, LAST, NEXT = "first", "last", "next"
PATIENCE_S: Final = 60.0
"""How long a read that has an end waits for a broker that went away."""

_PREFETCH: Final = 1000
_ACK_AFTER: Final = 250
_WHOLE_CHUNK: Final = 65_535  # no chunk has more entries, no prefetch can be more
_SETTLE_S: Final = 0.05
_SETTLE_MAX_S: Final = 0.5
_ANSWER_S: Final = 20.0
_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0)
_PAUSE_MAX_S: Final = 5.0

Tell: TypeAlias = Callable[[str], None]


class StreamError(OSError):
    """The stream cannot be read, or not any more."""


class EventStream:
    """A stream of events. `tell` hears of lost connections and of what is no longer kept."""

    def __init__(
        self,
        amqp_url: str,
        tell: Tell = lambda _: None,
        *,
        name: str = USAGE_EVENTS,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._url = amqp_url
        self._name = name
        self._tell = tell
        self._patience_s = patience_s

    async def end(self) -> int:
        """Return the offset after the last event that is there now; 0 without any. Raises StreamError."""
        async with self._asked() as link:
            return await _end(link)

    async def find(self, start: Start) -> int:
        """Return the offset at which reading from `start` begins. Raises StreamError."""
        if isinstance(start, int):
            return start
        async with self._asked() as link:
            return await _find(link, start)

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
            except OSError as error:
                await self._wait_to_retry(place, error)

    async def _connected(self, place: "_Place") -> AsyncGenerator[list[Entry], None]:
        async with linked(self._url, self._name) as link:
            end = await _end(link)
            place.check(end)
            await link.attach(min(place.wanted, end), prefetch=_PREFETCH)
            place.connected()
            async for entries in _entries(link):
                if batch := place.heed(entries):
                    yield batch
                if place.is_reached:
                    return

    async def _wait_to_retry(self, place: "_Place", error: Exception) -> None:
        waited_s, pause_s = place.lost(error)
        if place.end is not None and waited_s > self._patience_s:
            raise StreamError(f"the broker has been away for {waited_s:.0f} s: {_said(error)}") from error
        await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[StreamLink]:
        try:
            async with linked(self._url, self._name) as link:
                yield link
        except ConnectionRefusedError:
            raise
        except OSError as error:
            raise StreamError(f"the broker gives no events of {self._name}: {_said(error)}") from error


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


async def _entries(link: StreamLink) -> AsyncGenerator[list[Entry], None]:
    """Yield what comes. Acknowledged are many at once, and all when nothing more is there."""
    taken = 0
    while True:
        entries, link.entries = link.entries, []
        taken += len(entries)
        if taken >= _ACK_AFTER or (taken and not entries):
            await link.acknowledge()
            taken = 0
        if entries:
            yield entries
        else:
            await link.receive()


async def _find(link: StreamLink, start: Start) -> int:
    offsets = await _peek(link, start, prefetch=1) if start != NEXT else []
    return offsets[0] if offsets else await _end(link)


async def _end(link: StreamLink) -> int:
    offsets = await _peek(link, LAST, prefetch=_WHOLE_CHUNK)
    return offsets[-1] + 1 if offsets else 0


async def _peek(link: StreamLink, start: Start, *, prefetch: int) -> list[int]:
    """Return the offsets that a new consumer is given at once.

    The broker delivers them before it answers the next question on the same channel; a little later still,
    should another version of it not. While more is published there is always more: then what came in half a
    second is all that was asked for.
    """
    await link.attach(start, prefetch=prefetch)
    count = await link.count()
    if count and not isinstance(start, datetime):
        async with asyncio.timeout(_ANSWER_S):
            while not link.entries:
                await link.receive()
    offsets: list[int] = []
    loop = asyncio.get_running_loop()
    until = loop.time() + _SETTLE_MAX_S
    while len(offsets) < prefetch and loop.time() < until:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                await link.receive()
        if len(link.entries) == len(offsets):
            break
        offsets = [entry.offset for entry in link.entries]
    await link.detach()
    return offsets


def _said(error: Exception) -> str:
    return str(error) or repr(error)


async def events(amqp_url: str, offset: Start, *, follow: bool) -> AsyncGenerator[str, None]:
    """Yield the stream's events from `offset` as JSON texts: all that are there now, or for ever.

    What is no JSON object was put there by no service, and is passed over. Raises StreamError.
    """
    stream = EventStream(amqp_url)
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
