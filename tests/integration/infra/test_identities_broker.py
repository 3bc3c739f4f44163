"""What each identity may do in the broker: the whole table, tried with its own login."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import aio_pika
import httpx2
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from infra.bootstrap.rabbitmq import management_address
from shared.contracts import topology
from shared.contracts.rpc import Request
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, SERVICES
from tests.contracts import all_contracts
from tests.loopback import http_client
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

Deed: TypeAlias = Callable[[AbstractChannel], Awaitable[object]]

ANALYST = "analyst"
IDENTITIES = (*SERVICES, ANALYST)
_ASKED_OF_KEY_VAULT = (
    *("store", "replace", "update", "list", "revoke", "revoke_all", "issue_session", "status"),
    *("settings", "change_settings", "platform_keys", "mend_platform_key", "rewrap"),
)
_ASKED_OF_BILLING = (
    *("grant", "adjust", "deduct", "balance", "statement", "receipt", "usage", "prices", "set_price"),
)

MAY_PUBLISH = {
    API_EDGE: {
        "inference": {"run.requested.v1"},
        "control": {""},
        "rpc": {
            *(f"key_vault.{what}.v1" for what in _ASKED_OF_KEY_VAULT),
            *(f"billing.{what}.v1" for what in _ASKED_OF_BILLING),
            "inference.validate_key.v1",
            "inference.list_models.v1",
        },
    },
    KEY_VAULT: {
        "replies": {"reply.api_edge.1", "reply.inference.1"},
        "keys": {"key.stored.v1", "key.revoked.v1", "consent.changed.v1"},
    },
    INFERENCE: {
        "rpc": {"key_vault.resolve.v1", "key_vault.open.v1", "billing.authorize.v1", "billing.price.v1"},
        "replies": {"reply.api_edge.1"},
        "usage": {"usage.recorded.v1"},
        "runs": {"run.ended.v1"},
    },
    BILLING: {
        "replies": {"reply.api_edge.1", "reply.inference.1"},
        "usage": {"credits.charged.v1", "credits.granted.v1", "credits.adjusted.v1"},
    },
    ANALYST: {},
}
MAY_READ = {
    API_EDGE: {"api_edge.runs"},
    KEY_VAULT: {"key_vault.rpc", "key_vault.usage"},
    INFERENCE: {"inference.runs", "inference.rpc"},
    BILLING: {"billing.rpc", "billing.usage"},
    ANALYST: {"usage.events"},
}
# Of the queues of single instances: those that it may make, read and bind, for its own instances.
MAY_HAVE = {
    API_EDGE: {"reply", "control"},
    KEY_VAULT: {"reply", "control", "keys"},
    INFERENCE: {"reply", "control", "keys"},
    BILLING: {"reply", "control"},
    ANALYST: set[str](),
}
MAY_LISTEN = {
    API_EDGE: {("replies", "reply.api_edge.1")},
    KEY_VAULT: {("replies", "reply.key_vault.1"), ("keys", "#")},
    INFERENCE: {("replies", "reply.inference.1"), ("keys", "#"), ("control", "")},
    BILLING: {("replies", "reply.billing.1")},
    ANALYST: set[tuple[str, str]](),
}


def _routing_keys() -> dict[str, set[str]]:
    """Every exchange with every routing key of the contracts, and some of nobody's."""
    keys_of = {exchange: {"other.v1"} for exchange in topology.EXCHANGES}
    for message in all_contracts().values():
        if message.EXCHANGE != "replies":
            keys_of[message.EXCHANGE].add(message.ROUTING_KEY)
    return {
        **keys_of,
        "replies": {f"reply.{service}.1" for service in SERVICES},
        "control": {""},
        "dlx": set(topology.queues()),
        "": {*topology.queues(), *(f"reply.{service}.1" for service in SERVICES)},
        "amq.topic": {"x"},
        "amq.fanout": {"x"},
    }


def _instance_queues() -> set[str]:
    return {f"{kind}.{service}.1" for kind in ("reply", "control", "keys") for service in SERVICES}


@pytest.fixture(params=IDENTITIES)
async def who(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def tried(own: TestRealm, who: str) -> AsyncIterator[Callable[[Deed], Awaitable[bool]]]:
    """Whether the broker lets this identity do something; what is not there, or held, is let through."""
    url = own.admin["LATCHKEY_ANALYST_AMQP_URL"] if who == ANALYST else own.env(who)["LATCHKEY_AMQP_URL"]
    async with await aio_pika.connect(url) as connection:
        channels: list[AbstractChannel] = []

        async def is_allowed(deed: Deed) -> bool:
            if not channels or channels[-1].is_closed:
                channels.append(await connection.channel())
            try:
                await deed(channels[-1])
            except ChannelAccessRefused:
                return False
            except (ChannelNotFoundEntity, ChannelLockedResource, ChannelPreconditionFailed):
                return True
            return True

        yield is_allowed


Tried: TypeAlias = Callable[[Deed], Awaitable[bool]]


def test_the_table_knows_every_request() -> None:
    requests = [message for message in all_contracts().values() if issubclass(message, Request)]
    allowed = {key for rights in MAY_PUBLISH.values() for key in rights.get("rpc", set())}
    assert {message.ROUTING_KEY for message in requests} == allowed


async def test_it_publishes_its_own_messages_only(tried: Tried, who: str) -> None:
    def publish(exchange: str, key: str) -> Deed:
        async def deed(channel: AbstractChannel) -> None:
            target = channel.default_exchange
            if exchange:
                target = await channel.get_exchange(exchange, ensure=False)
            await target.publish(aio_pika.Message(b"{}", expiration=1), key, mandatory=False)

        return deed

    done = {
        (exchange, key)
        for exchange, known in _routing_keys().items()
        for key in known
        if await tried(publish(exchange, key))
    }
    assert done == {(exchange, key) for exchange, known in MAY_PUBLISH[who].items() for key in known}


async def test_it_reads_its_own_queues_only(tried: Tried, who: str) -> None:
    def get(name: str) -> Deed:
        async def deed(channel: AbstractChannel) -> None:
            await channel.set_qos(prefetch_count=1)
            queue = await channel.get_queue(name, ensure=False)
            if name in {topology.USAGE_EVENTS, topology.KEYS_AUDIT}:
                await queue.cancel(await queue.consume(_ignore, arguments={"x-stream-offset": "next"}))
            else:
                await queue.get(fail=False, no_ack=True)

        return deed

    everything = {*topology.queues(), *_instance_queues()}
    done = {name for name in everything if await tried(get(name))}
    assert done == MAY_READ[who] | {f"{kind}.{who}.1" for kind in MAY_HAVE[who]}


async def test_it_makes_no_queue_or_exchange_but_its_instances_own(tried: Tried, who: str) -> None:
    def declare(name: str) -> Deed:
        return lambda channel: channel.declare_queue(name, exclusive=True, auto_delete=True)

    names = {*_instance_queues(), "mine", "reply.stranger.1", *topology.queues()}
    done = {name for name in names if await tried(declare(name))}
    assert done == {f"{kind}.{who}.1" for kind in MAY_HAVE[who]}


async def test_it_makes_and_takes_away_nothing_of_the_topology(tried: Tried) -> None:
    def make(name: str) -> Deed:
        return lambda channel: channel.declare_exchange(name, "topic", durable=True)

    def drop_exchange(name: str) -> Deed:
        return lambda channel: channel.exchange_delete(name)

    def drop_queue(name: str) -> Deed:
        return lambda channel: channel.queue_delete(name)

    deeds = [
        *(make(name) for name in ("mine", *topology.EXCHANGES)),
        *(drop_exchange(name) for name in topology.EXCHANGES),
        *(drop_queue(name) for name in topology.queues()),
    ]
    assert not any([await tried(deed) for deed in deeds])


async def test_it_listens_to_what_is_for_it_only(tried: Tried, who: str) -> None:
    def listen(kind: str, exchange: str, key: str) -> Deed:
        async def deed(channel: AbstractChannel) -> None:
            queue = await channel.declare_queue(f"{kind}.{who}.1", exclusive=True)
            await queue.bind(exchange, key)

        return deed

    keys_of = {**_routing_keys(), "keys": {"#"}}
    everything = {(exchange, key) for exchange, known in keys_of.items() if exchange for key in known}
    done = {
        (exchange, key)
        for kind in MAY_HAVE[who]
        for exchange, key in everything | {("replies", "reply.#"), ("rpc", "#"), ("usage", "#")}
        if await tried(listen(kind, exchange, key))
    }
    assert done == MAY_LISTEN[who]


async def test_it_claims_to_be_nobody_else(own: TestRealm, who: str) -> None:
    if who == ANALYST or not MAY_PUBLISH[who]:
        return
    exchange_name, known = next(iter(MAY_PUBLISH[who].items()))
    async with await aio_pika.connect(own.env(who)["LATCHKEY_AMQP_URL"]) as connection:
        for other in {*IDENTITIES, "admin"} - {who}:
            channel = await connection.channel()
            exchange = await channel.get_exchange(exchange_name, ensure=False)
            message = aio_pika.Message(b"{}", user_id=own.name + "_" + other, expiration=1)
            with pytest.raises(ChannelPreconditionFailed):
                await exchange.publish(message, min(known), mandatory=False)


async def test_it_enters_no_other_realm_and_no_management(own: TestRealm, realm: TestRealm, who: str) -> None:
    url = own.admin["LATCHKEY_ANALYST_AMQP_URL"] if who == ANALYST else own.env(who)["LATCHKEY_AMQP_URL"]
    with pytest.raises(aio_pika.exceptions.AMQPError):
        await aio_pika.connect(url.removesuffix(own.name) + realm.name)
    login = httpx2.URL(url)
    async with http_client(auth=(login.username, login.password)) as client:
        answer = await client.get(f"{management_address(own.servers)}/api/queues/{own.name}")
    assert answer.status_code == httpx2.codes.UNAUTHORIZED


async def _ignore(_message: object) -> None: ...
