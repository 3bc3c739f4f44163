"""The AsyncAPI 3.0 document: a channel is an exchange and a routing key, an operation who does what there."""

from typing import Any, Final

from infra.contracts.found import ANSWERS
from infra.contracts.routes import REPLIES, Route, route
from shared.contracts.message import CONTENT_TYPE, Message
from shared.contracts.rpc import Request, RpcReply
from shared.contracts.topology import EXCHANGES

_ABOUT: Final = (
    "Messages between Latchkey's services, and the usage stream for analysts. CloudEvents 1.0 in structured "
    "JSON; `type` is `latchkey.` and the contract's name. Who sends is what the broker permits."
)
_BINDING: Final = "0.3.0"


def asyncapi(contracts: dict[str, type[Message]]) -> dict[str, Any]:
    routes = {key: route(message) for key, message in contracts.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Latchkey",
            "version": "1.0.0",
            "description": _ABOUT,
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "broker": {
                "host": "localhost:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "pathname": "/latchkey",
                "description": "RabbitMQ; the virtual host is named as the realm.",
            }
        },
        "channels": {key: _channel(key, routes[key]) for key in contracts},
        "operations": _operations(contracts, routes),
        "components": {"messages": {key: _message(message) for key, message in contracts.items()}},
    }


def _channel(key: str, where: Route) -> dict[str, Any]:
    described = {
        "address": where.address,
        "title": f"{where.exchange}: {key}",
        "messages": {key: {"$ref": f"#/components/messages/{key}"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": where.exchange,
                    "type": EXCHANGES[where.exchange],
                    "durable": True,
                    "autoDelete": False,
                },
                "bindingVersion": _BINDING,
            }
        },
    }
    if where.exchange == REPLIES:
        described["parameters"] = {
            "service": {"description": "Who receives it."},
            "instance": {"description": "Which of its processes."},
        }
    return described


def _operations(contracts: dict[str, type[Message]], routes: dict[str, Route]) -> dict[str, Any]:
    found = {}
    for key, message in contracts.items():
        where = routes[key]
        for who in where.senders:
            found[f"{who}.send.{key}"] = _operation("send", key, message, f"{who} sends it.")
        for who in where.receivers:
            queues = ", ".join(queue for queue, readers in where.queues.items() if who in readers)
            found[f"{who}.receive.{key}"] = _operation(
                "receive", key, message, f"{who} receives it from {queues}."
            )
    return found


def _operation(action: str, key: str, message: type[Message], about: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{key}"},
        "summary": about,
        "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
    }
    if issubclass(message, Request):
        reply = RpcReply.ROUTING_KEY
        operation["reply"] = {
            "address": {
                "location": "$message.header#/reply_to",
                "description": f"Answered with {ANSWERS[message].__name__}, or an error.",
            },
            "channel": {"$ref": f"#/channels/{reply}"},
            "messages": [{"$ref": f"#/channels/{reply}/messages/{reply}"}],
        }
    return operation


def _message(message: type[Message]) -> dict[str, Any]:
    return {
        "name": message.event_type(),
        "title": message.__name__,
        "summary": summary(message),
        "contentType": CONTENT_TYPE,
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{message.ROUTING_KEY}.schema.json"},
        },
    }


def summary(message: type[Message]) -> str:
    """Return the first paragraph of what the contract says of itself."""
    own = message.__doc__ if "__doc__" in vars(message) else None
    return " ".join((own or "").split("\n\n")[0].split())
