"""A connection to the broker, for a command: what goes wrong with it is an OSError."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import aiormq
from aiormq.abc import AbstractConnection

ANSWER_S: Final = 20.0
_HEARTBEAT_S: Final = 30
_SCHEMES: Final = ("amqp://", "amqps://")
_LOST = (aiormq.AMQPError, RuntimeError)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    """Connect for as long as the context lasts. Raises ConnectionRefusedError when nobody answers."""
    if not url.startswith(_SCHEMES):
        raise ConnectionError("not an address like amqp://user:password@host:5672/realm")
    with as_os_errors():
        async with asyncio.timeout(ANSWER_S):
            connection = await aiormq.connect(f"{url}{'&' if '?' in url else '?'}heartbeat={_HEARTBEAT_S}")
    try:
        yield connection
    finally:
        with contextlib.suppress(OSError, *_LOST):
            await connection.close()


@contextlib.contextmanager
def as_os_errors() -> Iterator[None]:
    """Raise OSError for what the AMQP library raises when the broker is lost or refuses."""
    try:
        yield
    except _LOST as error:
        if isinstance(error.__cause__, ConnectionRefusedError):
            raise error.__cause__ from None
        raise ConnectionError(f"{error}" or repr(error)) from error
