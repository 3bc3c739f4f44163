"""The base of every message on the bus, and its CloudEvents 1.0 envelope (structured JSON).

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Self, TypeVar

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from shared.kernel.errors import InvalidRequestError
from shared.kernel.ids import new_id

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX: Final = "latchkey."
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""The broker's `max_message_size`: it closes the channel on which more comes, whoever else uses that."""

MessageT = TypeVar("MessageT", bound="Message")


def text_bytes(text: str) -> int:
    """Return how long a text is within a message: as JSON, where a backslash or a quote takes two bytes."""
    return len(orjson.dumps(text))


def event_type(routing_key: str) -> str:
    """Return the CloudEvents type of what travels under a routing key."""
    return TYPE_PREFIX + routing_key


class Message(BaseModel):
    """One contract version. `ROUTING_KEY` and `EXCHANGE` say where it travels; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    EXCHANGE: ClassVar[str]
    ROUTING_KEY: ClassVar[str]

    @classmethod
    def event_type(cls) -> str:
        return event_type(cls.ROUTING_KEY)


class Envelope(BaseModel):
    """CloudEvents attributes; `data` is one `Message` as a plain object. Ids survive redeliveries."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    specversion: str = Field(default="1.0", pattern=r"^1\.0$")
    id: str = Field(min_length=1, max_length=64)
    source: str
    type: str
    time: AwareDatetime
    subject: str | None = None
    datacontenttype: str = "application/json"
    data: dict[str, Any]

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Raise InvalidRequestError (without the body) for what is not a CloudEvent."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise InvalidRequestError(_where(error)) from None


def write(
    message: Message, *, source: str, event_id: str | None = None, subject: str | None = None
) -> tuple[str, bytes]:
    """Return a message's CloudEvent as it travels, under its id. A hot path: no `Envelope` is made for it."""
    identity = event_id or str(new_id())
    attributes = {
        "specversion": "1.0",
        "id": identity,
        "source": f"latchkey/{source}",
        "type": message.event_type(),
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        "data": message.model_dump(mode="json"),
    }
    if subject is not None:
        attributes["subject"] = subject
    return identity, orjson.dumps(attributes, option=orjson.OPT_UTC_Z)


def read(envelope: Envelope, model: type[MessageT]) -> MessageT:
    """Read an envelope's data as `model`; raise InvalidRequestError naming fields, never their values."""
    if envelope.type != model.event_type():
        raise InvalidRequestError(f"expected {model.event_type()}")
    try:
        return model.model_validate(envelope.data)
    except ValidationError as error:
        raise InvalidRequestError(_where(error)) from None


def _where(error: ValidationError) -> str:
    fields = {
        ".".join(str(part) for part in item["loc"][:4]) or "body"
        for item in error.errors(include_input=False, include_context=False, include_url=False)
    }
    return "malformed message: " + ", ".join(sorted(fields)[:5])
