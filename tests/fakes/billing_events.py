"""What billing's outbox keeps, read."""

from typing import Final

from services.billing.ports import Outgoing
from shared.contracts.credits import CreditsAdjusted, CreditsCharged, CreditsGranted
from shared.contracts.message import Envelope, Message, read

_EVENTS: Final[tuple[type[Message], ...]] = (CreditsCharged, CreditsGranted, CreditsAdjusted)


def load_event(event: Outgoing) -> Message:
    """Read what the outbox keeps."""
    model = next(model for model in _EVENTS if event.routing_key == model.ROUTING_KEY)
    envelope = Envelope.decode(event.body.encode())
    assert envelope.id == str(event.event_id)
    return read(envelope, model)
