"""The broker's topology: the one place in code. A test holds `infra/rabbitmq/definitions.json` equal to it.

Services never declare it: the bootstrap imports the file. Only the queues of single instances are declared by
their owners, exclusive and named `<what>.<service>.<instance>-<connection>`: `reply`, `control`, `keys`.
"""

import re
from typing import Any, Final

API_EDGE_RUNS: Final = "api_edge.runs"
INFERENCE_RUNS: Final = "inference.runs"
INFERENCE_RPC: Final = "inference.rpc"
KEY_VAULT_RPC: Final = "key_vault.rpc"
KEY_VAULT_USAGE: Final = "key_vault.usage"
BILLING_RPC: Final = "billing.rpc"
BILLING_USAGE: Final = "billing.usage"
USAGE_EVENTS: Final = "usage.events"
KEYS_AUDIT: Final = "keys.audit"

RPC_QUEUES: Final = (INFERENCE_RPC, KEY_VAULT_RPC, BILLING_RPC)
WORK_QUEUES: Final = (INFERENCE_RUNS, API_EDGE_RUNS, BILLING_USAGE, KEY_VAULT_USAGE)
"""What is refused of these, or failed at too often, waits among their dead letters."""

CONTROL: Final = "control"
KEYS: Final = "keys"

EXCHANGES: Final = {
    "inference": "topic",
    "runs": "topic",
    "rpc": "topic",
    "replies": "topic",
    CONTROL: "fanout",
    KEYS: "topic",
    "usage": "topic",
    "dlx": "topic",
}

_DELIVERY_LIMIT = 10
_LOOKS_MAX = 2**31 - 1
_STREAM = {
    "x-queue-type": "stream",
    "x-max-age": "30D",
    "x-max-length-bytes": 10_000_000_000,
    "x-stream-max-segment-size-bytes": 100_000_000,
}


def reply_key(service: str, instance: str) -> str:
    return f"reply.{service}.{instance}"


def instance_queue(exchange: str, service: str, instance: str) -> str:
    """Return the name of an instance's own queue on an exchange that tells every instance."""
    return f"{exchange}.{service}.{instance}"


def dead_letters(queue: str) -> str:
    return f"{queue}.dlq"


def _work(queue: str) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": _DELIVERY_LIMIT,
        "x-dead-letter-exchange": "dlx",
        "x-dead-letter-routing-key": dead_letters(queue),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _kept(queue: str) -> dict[str, Any]:
    """Dead letters stay however often they are looked at (of a quorum queue without a limit RabbitMQ 4 drops
    what was delivered 20 times), and the broker itself takes one that is rejected back to its queue. Of
    a queue's policies one holds, of the highest priority: an older version may have left another.
    """
    return {
        "name": f"dead letters of {queue}",
        "pattern": f"^{re.escape(dead_letters(queue))}$",
        "apply-to": "queues",
        "definition": {
            "delivery-limit": _LOOKS_MAX,
            "dead-letter-exchange": "",
            "dead-letter-routing-key": queue,
            "dead-letter-strategy": "at-least-once",
            "overflow": "reject-publish",
        },
        "priority": 10,
    }


def queues() -> dict[str, dict[str, Any]]:
    """Return every durable queue with its arguments.

    RPC queues are classic (quorum in a cluster: `infra/bootstrap/rabbitmq.py`) and drop what has expired: its
    caller has had its answer, a timeout.
    """
    return {
        **{dead_letters(queue): {"x-queue-type": "quorum"} for queue in WORK_QUEUES},
        **{queue: _work(queue) for queue in WORK_QUEUES},
        **{queue: {"x-queue-type": "classic"} for queue in RPC_QUEUES},
        USAGE_EVENTS: _STREAM,
        KEYS_AUDIT: _STREAM,
    }


def bindings() -> list[tuple[str, str, str]]:
    """Return (exchange, routing key, queue), dead letters first."""
    return [
        *(("dlx", dead_letters(queue), dead_letters(queue)) for queue in WORK_QUEUES),
        ("inference", "run.requested.v1", INFERENCE_RUNS),
        ("runs", "run.ended.v1", API_EDGE_RUNS),
        ("rpc", "inference.#", INFERENCE_RPC),
        ("rpc", "key_vault.#", KEY_VAULT_RPC),
        ("rpc", "billing.#", BILLING_RPC),
        ("usage", "usage.recorded.v1", BILLING_USAGE),
        ("usage", "usage.recorded.v1", KEY_VAULT_USAGE),
        ("usage", "#", USAGE_EVENTS),
        (KEYS, "#", KEYS_AUDIT),
    ]


def streams_of(exchange: str) -> tuple[str, ...]:
    """Return the streams that keep what is published on an exchange."""
    kinds = {queue: arguments["x-queue-type"] for queue, arguments in queues().items()}
    return tuple(queue for name, _, queue in bindings() if name == exchange and kinds[queue] == "stream")


def definitions() -> dict[str, list[dict[str, Any]]]:
    """Return the topology in RabbitMQ's definitions format, without a vhost (imported into one)."""
    durable = {"durable": True, "auto_delete": False}
    return {
        "policies": [_kept(queue) for queue in WORK_QUEUES],
        "exchanges": [
            {"name": name, "type": kind, **durable, "internal": False, "arguments": {}}
            for name, kind in EXCHANGES.items()
        ],
        "queues": [{"name": name, **durable, "arguments": arguments} for name, arguments in queues().items()],
        "bindings": [
            {
                "source": exchange,
                "destination": queue,
                "destination_type": "queue",
                "routing_key": key,
                "arguments": {},
            }
            for exchange, key, queue in bindings()
        ],
    }
