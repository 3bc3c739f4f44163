"""Publishing through aiormq's channel, one message or many in one piece: its own way takes a lock, timers and
futures for each of them.

Confirms and returns come in by aiormq's own bookkeeping, so others may publish on the same channel.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from aio_pika.exceptions import ChannelInvalidStateError
from aiormq import Channel, Connection
from aiormq.abc import ChannelFrame
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

_FRAMES_WAITING = 8192
_LARGE = 64 * 1024
"""Bytes that are not left to the socket's buffer alone."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message. Its properties have a `message_id`, by which the broker's return tells it."""

    routing_key: str
    properties: Basic.Properties
    body: bytes


def let_frames_wait() -> None:
    """Let more frames wait for the writer of each connection that is opened from now on.

    aiormq lets ten, and writes no more in a turn of the event loop. Of those who wait for a place, some are
    passed by whoever comes later, again and again, for seconds.
    """
    Connection.FRAME_BUFFER_SIZE = _FRAMES_WAITING


async def send_on(channel: Channel, exchange: str, parcel: Parcel) -> None:
    """Send a message that nobody confirms, after all sent before. What is large waits for the socket.

    Raises ChannelInvalidStateError when the channel is closed.
    """
    if channel.is_closed:
        raise ChannelInvalidStateError("the channel is closed")
    payload = b"".join(_frames(channel, exchange, parcel, mandatory=False))
    drained = asyncio.get_running_loop().create_future() if len(payload) > _LARGE else None
    await channel.write_queue.put(ChannelFrame(payload, should_close=False, drain_future=drained))
    if drained is not None:
        await drained


async def publish_in_one_piece(
    channel: Channel, exchange: str, parcels: Sequence[Parcel], *, timeout_s: float
) -> list[Exception | None]:
    """Return why each of them was not confirmed within `timeout_s`; None for those that were.

    Raises ChannelInvalidStateError when the channel is closed, TimeoutError when they cannot even be sent.
    """
    async with asyncio.timeout(timeout_s):
        confirms = await _send(channel, exchange, parcels)
    all_confirms, closing = asyncio.gather(*confirms, return_exceptions=True), channel.closing
    try:
        await asyncio.wait({all_confirms, closing}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        closing.cancel()
        for confirm in confirms:  # what is still to come is ignored then
            confirm.cancel()
        for parcel in parcels:
            channel.message_id_delivery_tag.pop(str(parcel.properties.message_id), None)
    return [_failure(confirm) for confirm in confirms]


async def _send(channel: Channel, exchange: str, parcels: Sequence[Parcel]) -> list["asyncio.Future[object]"]:
    loop = asyncio.get_running_loop()
    payload = b"".join(
        piece for parcel in parcels for piece in _frames(channel, exchange, parcel, mandatory=True)
    )
    async with channel.lock:
        await channel.write_queue.put(ChannelFrame(payload, should_close=False))
        # The broker counts from here on; nothing of its answers can come before this task waits again.
        confirms = []
        for parcel in parcels:
            channel.delivery_tag += 1
            channel.confirmations[channel.delivery_tag] = confirm = loop.create_future()
            channel.message_id_delivery_tag[str(parcel.properties.message_id)] = channel.delivery_tag
            confirms.append(confirm)
        return confirms


def _frames(channel: Channel, exchange: str, parcel: Parcel, *, mandatory: bool) -> Iterator[bytes]:
    number, size, body = channel.number, channel.max_content_size, parcel.body
    yield _publish(number, exchange, parcel.routing_key, mandatory)
    yield frame.marshal(ContentHeader(body_size=len(body), properties=parcel.properties), number)
    for start in range(0, len(body), size):
        yield frame.marshal(ContentBody(body[start : start + size]), number)


@lru_cache
def _publish(number: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001
    method = Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return frame.marshal(method, number)


def _failure(confirm: "asyncio.Future[object]") -> Exception | None:
    return TimeoutError() if confirm.cancelled() else cast("Exception | None", confirm.exception())
