"""A JSON Schema (2020-12) for each contract version, in its CloudEvents envelope."""

from typing import Any, Final

from pydantic import BaseModel

from shared.contracts.message import Envelope, Message
from shared.contracts.rpc import RpcReply

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ENVELOPE: Final = (
    "CloudEvents 1.0, structured JSON. Consumers ignore fields that they do not know: within a version there "
    "may be more of them, never fewer."
)


def schema(message: type[Message]) -> dict[str, Any]:
    """Return the schema of a message as it is on the wire."""
    return _wrapped(message, _plain(message))


def answer_schema(request: type[Message], answer: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of the reply to a request: `data.result` answers it, or `data.error` says why not."""
    reply, result = _plain(RpcReply), _plain(answer)
    reply.setdefault("$defs", {}).update(result.pop("$defs", {}))
    reply["properties"]["result"] = {"anyOf": [result, {"type": "null"}], "default": None}
    wrapped = _wrapped(RpcReply, reply)
    wrapped["title"] = f"The answer to {request.event_type()}"
    return wrapped


def _wrapped(message: type[Message], data: dict[str, Any]) -> dict[str, Any]:
    definitions = data.pop("$defs", {})
    envelope = _plain(Envelope)
    properties = envelope["properties"]
    properties["type"] = {"const": message.event_type()}
    properties["data"] = data
    wrapped = {
        "$schema": DIALECT,
        "title": message.event_type(),
        "description": _ENVELOPE,
        "type": "object",
        "properties": properties,
        "required": ["specversion", *envelope["required"]],
    }
    return {**wrapped, "$defs": dict(sorted(definitions.items()))} if definitions else wrapped


def _plain(model: type[BaseModel]) -> dict[str, Any]:
    """As a consumer may take it: what has a default may be missing."""
    return model.model_json_schema(mode="validation")
