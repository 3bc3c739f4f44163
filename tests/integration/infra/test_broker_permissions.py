"""Least permissions on a real broker, per service login."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from tests.realm import TestRealm

pytestmark = pytest.mark.integration


@asynccontextmanager
async def _channel(url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel()


def _as(realm: TestRealm, who: str) -> Any:
    admin = realm.admin["LATCHKEY_ANALYST_AMQP_URL"]
    return _channel(admin if who == "analyst" else realm.env(who)["LATCHKEY_AMQP_URL"])


async def _publish(channel: AbstractChannel, exchange: str, key: str) -> None:
    target = (
        channel.default_exchange if exchange == "" else await channel.get_exchange(exchange, ensure=False)
    )
    await target.publish(aio_pika.Message(b"{}", expiration=1), key, mandatory=False)


@pytest.mark.parametrize(
    ("who", "exchange", "key"),
    [
        ("api_edge", "rpc", "key_vault.resolve.v1"),
        ("api_edge", "rpc", "billing.authorize.v1"),
        ("api_edge", "usage", "usage.recorded.v1"),
        ("api_edge", "inference", "run.other.v1"),
        ("api_edge", "replies", "reply.api_edge.1"),
        ("inference", "rpc", "key_vault.store.v1"),
        ("inference", "rpc", "billing.grant.v1"),
        ("inference", "usage", "credits.charged.v1"),
        ("inference", "usage", "credits.granted.v1"),
        ("inference", "inference", "run.requested.v1"),
        ("inference", "replies", "reply.billing.1"),
        ("inference", "control", ""),
        ("key_vault", "usage", "credits.granted.v1"),
        ("key_vault", "rpc", "billing.grant.v1"),
        ("billing", "usage", "usage.recorded.v1"),
        ("billing", "rpc", "key_vault.resolve.v1"),
        ("billing", "dlx", "billing.usage.dlq"),
        ("analyst", "usage", "usage.recorded.v1"),
        *((who, "", "billing.usage") for who in ("api_edge", "key_vault", "inference", "billing", "analyst")),
    ],
)
async def test_publishing_is_refused(realm: TestRealm, who: str, exchange: str, key: str) -> None:
    async with _as(realm, who) as channel:
        with pytest.raises(ChannelAccessRefused):
            await _publish(channel, exchange, key)


@pytest.mark.parametrize(
    ("who", "exchange", "key"),
    [
        ("api_edge", "inference", "run.requested.v1"),
        ("api_edge", "rpc", "key_vault.store.v1"),
        ("api_edge", "control", ""),
        ("inference", "rpc", "key_vault.resolve.v1"),
        ("inference", "replies", "reply.api_edge.nobody"),
        ("key_vault", "replies", "reply.inference.nobody"),
        ("billing", "replies", "reply.api_edge.nobody"),
    ],
)
async def test_publishing_is_allowed(realm: TestRealm, who: str, exchange: str, key: str) -> None:
    async with _as(realm, who) as channel:
        await _publish(channel, exchange, key)


@pytest.mark.parametrize(
    ("who", "queue"),
    [
        ("analyst", "billing.usage"),
        ("analyst", "inference.runs"),
        ("api_edge", "inference.runs"),
        ("api_edge", "key_vault.rpc"),
        ("inference", "key_vault.rpc"),
        ("inference", "billing.usage"),
        ("key_vault", "billing.rpc"),
        ("billing", "inference.runs"),
        ("billing", "usage.events"),
    ],
)
async def test_reading_is_refused(realm: TestRealm, who: str, queue: str) -> None:
    async with _as(realm, who) as channel:
        there = await channel.get_queue(queue, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await there.get(fail=False)


async def test_a_service_listens_to_its_own_replies_only(realm: TestRealm) -> None:
    async with _as(realm, "api_edge") as channel:
        own = await channel.declare_queue("reply.api_edge.test", exclusive=True)
        await own.bind("replies", "reply.api_edge.test")
        with pytest.raises(ChannelAccessRefused):
            await own.bind("replies", "reply.inference.other")


async def test_a_service_declares_no_queue_of_another(realm: TestRealm) -> None:
    async with _as(realm, "api_edge") as channel:
        with pytest.raises(ChannelAccessRefused):
            await channel.declare_queue("reply.inference.test", exclusive=True)


async def test_nobody_claims_to_be_another(realm: TestRealm) -> None:
    async with _as(realm, "api_edge") as channel:
        exchange = await channel.get_exchange("inference", ensure=False)
        message = aio_pika.Message(b"{}", user_id=f"{realm.name}_billing")
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
            await exchange.publish(message, "run.requested.v1")
