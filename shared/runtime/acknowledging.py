"""What becomes of a message once its handler is through with it."""

import asyncio
from collections.abc import Awaitable

from aio_pika.abc import AbstractIncomingMessage

from shared.kernel.errors import ForbiddenError, InvalidRequestError
from shared.runtime.logs import get_logger
from shared.runtime.metrics import BusMeters
from shared.runtime.publisher import AWAY

_REDELIVERY_PAUSE_S = 0.5


async def acknowledge(
    message: AbstractIncomingMessage, verdict: Exception | None, *, queue: str, meters: BusMeters
) -> None:
    """Acknowledge it; dead-letter what never can be handled; let the rest come back, after a pause."""
    if verdict is None:
        await quietly(message.ack())
    elif isinstance(verdict, InvalidRequestError | ForbiddenError):
        get_logger().error(
            "dead-lettered",
            message_id=message.message_id,
            key=message.routing_key,
            code=verdict.code,
            reason=verdict.message,
        )
        meters.dead_lettered(queue)
        await quietly(message.reject(requeue=False))
    else:
        get_logger().error(
            "handler failed; the message comes back",
            message_id=message.message_id,
            key=message.routing_key,
            exc_info=verdict,
        )
        meters.returned(queue)
        await asyncio.sleep(_REDELIVERY_PAUSE_S)
        await quietly(message.reject(requeue=True))


async def quietly(answer: Awaitable[object]) -> None:
    """Tell the broker; on a lost connection the message comes back anyway."""
    try:
        await answer
    except AWAY as error:
        get_logger().warning("could not acknowledge a message", reason=type(error).__name__)
