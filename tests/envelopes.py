"""Messages as they travel, for whoever has no bus to send them by."""

from datetime import datetime

import orjson

from shared.contracts.message import Envelope, Message, write


def event_body(
    message: Message,
    *,
    source: str,
    event_id: str | None = None,
    subject: str | None = None,
    time: datetime | None = None,
) -> bytes:
    """Return a message as the publisher writes it; with a `time`, as if it was written then."""
    if time is not None:
        envelope = enveloped(message, source=source, event_id=event_id, subject=subject)
        return encoded(envelope.model_copy(update={"time": time}))
    return write(message, source=source, event_id=event_id, subject=subject)[1]


def enveloped(
    message: Message, *, source: str, event_id: str | None = None, subject: str | None = None
) -> Envelope:
    """Return the same as it is read: to be changed, and then `encoded`."""
    return Envelope.decode(event_body(message, source=source, event_id=event_id, subject=subject))


def encoded(envelope: Envelope) -> bytes:
    attributes = envelope.model_dump(mode="json", exclude={"data"}, exclude_none=True)
    return orjson.dumps({**attributes, "data": envelope.data})
