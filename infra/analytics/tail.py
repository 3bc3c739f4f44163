"""`latchkey usage tail`: the events as they are in the stream, one JSON object a line."""

from contextlib import aclosing
from typing import IO

import orjson

from infra.analytics.checking import Checker
from infra.analytics.window import Window
from infra.event_stream import Entry, EventStream


async def tail(
    stream: EventStream,
    window: Window,
    checker: Checker,
    out: IO[bytes],
    *,
    follow: bool,
) -> None:
    """Print from the window's start on, all that is there now or for ever. Raises StreamError."""
    first, last = await window.offsets(stream)
    async with aclosing(stream.read(first, None if follow else last)) as batches:
        async for batch in batches:
            lines = [line for entry in batch if (line := _line(entry, window, checker))]
            out.write(b"".join(lines))
            out.flush()
    checker.conclude()


def _line(entry: Entry, window: Window, checker: Checker) -> bytes | None:
    event = checker.check(entry)
    if event is None or not window.holds(event):
        return None
    body = entry.body.strip()
    if b"\n" in body:
        body = orjson.dumps(orjson.loads(body))
    return b'{"offset":%d,%b\n' % (entry.offset, body[1:])
