"""The events of some runs, waited for in the usage stream."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from infra.demo.checks import StoryError
from infra.event_stream import events
from shared.contracts.message import Envelope

_TIMEOUT_S: Final = 20
Events = dict[str, Envelope]


async def read_usage_events(
    amqp_url: str, wanted: Callable[[Envelope], bool], enough: Callable[[Events], bool]
) -> Events:
    """Read events from offset 0 until `enough`; by id, so that a redelivered one counts once.

    Raises StoryError when they do not come in time.
    """
    found: Events = {}
    try:
        async with asyncio.timeout(_TIMEOUT_S), aclosing(events(amqp_url, "first", follow=True)) as stream:
            async for text in stream:
                envelope = Envelope.decode(text.encode())
                if wanted(envelope):
                    found[envelope.id] = envelope
                    if enough(found):
                        break
    except TimeoutError:
        raise StoryError(f"the stream held only {_told(found)} after {_TIMEOUT_S} s") from None
    return found


def _told(found: Events) -> str:
    return ", ".join(sorted(event.type for event in found.values())) or "nothing of these runs"
