"""Who may send a message and who receives it: read off the broker's topology and permissions."""

import re
from dataclasses import dataclass
from typing import Any, Final

from infra.bootstrap.rabbitmq import permissions
from shared.contracts import topology
from shared.contracts.message import Message
from shared.contracts.rpc import RpcReply
from shared.kernel.names import API_EDGE, INFERENCE

REPLIES: Final = "replies"
_NOTHING: Final = "^$"
# Rights on `replies` do not tell a run's progress, inference's to the edge, from the answers of all.
_PROGRESS: Final = (INFERENCE, API_EDGE)


@dataclass(frozen=True)
class Route:
    """`queues`: who reads each; those of single instances are named
    `<exchange>.<service>.<instance>-<connection>`.
    """

    exchange: str
    address: str
    senders: tuple[str, ...]
    queues: dict[str, tuple[str, ...]]

    @property
    def receivers(self) -> tuple[str, ...]:
        return tuple(sorted({who for readers in self.queues.values() for who in readers}))


def route(message: type[Message]) -> Route:
    if message.EXCHANGE == REPLIES:
        return _reply(message)
    durable = [
        queue
        for exchange, pattern, queue in topology.bindings()
        if exchange == message.EXCHANGE and _matches(pattern, message.ROUTING_KEY)
    ]
    queues = {queue: _allowed("read", queue) for queue in durable}
    own = {_of_instances(message.EXCHANGE, who): (who,) for who in _allowed("read", message.EXCHANGE)}
    senders = _senders(message.EXCHANGE, message.ROUTING_KEY)
    return Route(message.EXCHANGE, message.ROUTING_KEY, senders, {**queues, **own})


def _reply(message: type[Message]) -> Route:
    if message is RpcReply:
        readers = _allowed("read", REPLIES)
        keys = [topology.reply_key(who, "any") for who in readers]
        senders = tuple(who for who in permissions() if any(_may_send(who, REPLIES, key) for key in keys))
    else:
        senders, readers = (_PROGRESS[0],), (_PROGRESS[1],)
    address = topology.reply_key("{service}", "{instance}")
    return Route(REPLIES, address, senders, {_of_instances("reply", who): (who,) for who in readers})


def _senders(exchange: str, key: str) -> tuple[str, ...]:
    return tuple(who for who in permissions() if _may_send(who, exchange, key))


def _may_send(who: str, exchange: str, key: str) -> bool:
    rights = permissions()[who]
    if not re.match(rights.get("write", _NOTHING), exchange):
        return False
    topics: dict[str, Any] | None = rights["topics"].get(exchange)
    return topics is None or bool(re.match(topics.get("write", _NOTHING), key))


def _allowed(right: str, name: str) -> tuple[str, ...]:
    return tuple(who for who, rights in permissions().items() if re.match(rights.get(right, _NOTHING), name))


def _of_instances(what: str, who: str) -> str:
    return topology.instance_queue(what, who, "{instance}")


def _matches(pattern: str, key: str) -> bool:
    """Say whether a topic exchange's binding takes a key; ours use `#` at the end only."""
    return key.startswith(pattern.removesuffix("#")) if pattern.endswith("#") else key == pattern
