"""The life of a key on real parts: stored, used, revoked, and never seen."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from shared.contracts.keys import ListKeys
from shared.contracts.message import Envelope, Message, read
from shared.contracts.resolving import KeyResolved
from shared.contracts.rpc import RpcReply
from shared.kernel.errors import (
    InvalidRequestError,
    NotFoundError,
    ServiceUnavailableError,
    UserApiKeyRequiredError,
)
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, KeyPolicy, KeyService, KeySource
from tests.envelopes import event_body
from tests.fakes.key_vault_house import KEY, request_key
from tests.integration.key_vault.clients import Edge, RpcWorker
from tests.realm import BusFor, TestRealm
from tests.traces import database_dump, traces

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("key_vault")]


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


async def test_a_key_is_stored_used_and_revoked(edge: Edge, worker: RpcWorker, user: str) -> None:
    kept = await edge.keep(KEY, user_id=user, label="laptop")
    assert await edge.all_keys(user) == (kept,)
    resolved, key = await worker.resolve(user_id=user)
    assert (key, resolved.credential_id, resolved.source) == (KEY, str(kept.id), KeySource.USER)
    await edge.revoke(user, kept.id)
    with pytest.raises(UserApiKeyRequiredError):
        await worker.resolve(user_id=user, policy=KeyPolicy.USER_KEY_REQUIRED)
    with pytest.raises(NotFoundError):
        await edge.revoke(user, kept.id)


async def test_one_users_key_serves_no_other(edge: Edge, worker: RpcWorker, user: str) -> None:
    kept = await edge.keep(KEY, user_id=user)
    other = f"{user}-2"
    assert await edge.all_keys(other) == ()
    with pytest.raises(UserApiKeyRequiredError):
        await worker.resolve(user_id=other, policy=KeyPolicy.USER_KEY_REQUIRED)
    with pytest.raises(NotFoundError):
        await edge.revoke(other, kept.id)


async def test_a_key_sent_with_the_run_reaches_the_worker(edge: Edge, worker: RpcWorker, user: str) -> None:
    run_id = new_id()
    sent = request_key(edge.public_key, run_id, user_id=user)
    resolved, key = await worker.resolve(user_id=user, run_id=run_id, request_key=sent)
    assert (key, resolved.source) == (KEY, KeySource.REQUEST)
    with pytest.raises(InvalidRequestError):
        await worker.resolve(user_id=f"{user}-2", run_id=run_id, request_key=sent)


async def test_platform_keys_take_turns(worker: RpcWorker, kv: Any, realm: TestRealm, user: str) -> None:
    with pytest.raises(UserApiKeyRequiredError):
        await worker.resolve(user_id=user)
    pool = ["sk-platform-000001", "sk-platform-000002"]
    kv.create_or_update_secret("platform/openai", {"api_keys": pool}, mount_point=realm.name)
    answers = [await worker.resolve(user_id=user) for _ in range(4)]
    assert [key for _, key in answers].count(pool[0]) == 2
    assert {answer.source for answer, _ in answers} == {KeySource.PLATFORM}
    assert {answer.consent_id for answer, _ in answers} == {"default"}


async def test_many_at_once(edge: Edge, worker: RpcWorker, user: str) -> None:
    await asyncio.gather(*(edge.keep(f"sk-key-of-{n:04}", user_id=f"{user}-{n}") for n in range(40)))
    answers = await asyncio.gather(*(worker.resolve(user_id=f"{user}-{n}") for n in range(40)))
    assert [key for _, key in answers] == [f"sk-key-of-{n:04}" for n in range(40)]


async def test_no_table_holds_a_key_in_any_form(
    edge: Edge, worker: RpcWorker, realm: TestRealm, user: str
) -> None:
    canary = f"canary{uuid4().hex}{uuid4().hex}"
    await edge.keep(canary, user_id=user, label="canary")
    await edge.keep(canary, user_id=user, service=KeyService.GATEWAY, base_url="https://gw.example/v1")
    assert (await worker.resolve(user_id=user))[1] == canary
    dump = await database_dump(realm.admin["LATCHKEY_POSTGRES_URL"])
    assert traces(user, dump)
    assert traces(canary, dump) == []
    assert traces(canary[3:-4], dump) == []


# -- who may ask -------------------------------------------------------------------------------------------


async def test_the_broker_stops_who_may_not_ask(worker: RpcWorker, edge: Edge, user: str) -> None:
    """By topic permissions: the request never arrives."""
    with pytest.raises(ServiceUnavailableError):
        await worker.bus.rpc.call(ListKeys(user_id=user), RpcReply, timeout_s=0.5)
    with pytest.raises(ServiceUnavailableError):
        await edge.bus.rpc.call(worker.asks(user_id=user), KeyResolved, timeout_s=0.5)


class Intruder:
    """Somebody with an administrator's login, who listens where a worker would."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, login: str) -> None:
        self._channel = channel
        self.login = login
        self._key = f"reply.inference.{uuid4().hex}"

    async def ask(self, message: Message, *, user_id: str | None) -> RpcReply:
        queue = await self._channel.declare_queue(exclusive=True)
        await queue.bind("replies", routing_key=self._key)
        exchange = await self._channel.get_exchange("rpc", ensure=False)
        body = event_body(message, source="inference")
        question = aio_pika.Message(body, reply_to=self._key, correlation_id="1", user_id=user_id)
        await exchange.publish(question, message.ROUTING_KEY)
        answer = await queue.get(timeout=5, fail=False)
        while answer is None:
            await asyncio.sleep(0.05)
            answer = await queue.get(timeout=5, fail=False)
        return read(Envelope.decode(answer.body), RpcReply)


@pytest.fixture
async def intruder(realm: TestRealm) -> AsyncIterator[Intruder]:
    connection = await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"])
    async with connection:
        yield Intruder(await connection.channel(), f"{realm.name}_admin")


async def test_nobody_asks_as_a_worker_who_is_none(
    edge: Edge, worker: RpcWorker, intruder: Intruder, realm: TestRealm, user: str
) -> None:
    """Neither an administrator nor a nameless sender; and the broker lets nobody take another's name."""
    await edge.keep(KEY, user_id=user)
    for name in (None, intruder.login):
        answer = await intruder.ask(worker.asks(user_id=user), user_id=name)
        assert answer.result is None
        assert answer.error is not None
        assert answer.error.code == "forbidden"
    with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
        await intruder.ask(worker.asks(user_id=user), user_id=f"{realm.name}_inference")


async def test_billing_hears_nothing_of_keys(bus_for: BusFor, worker: RpcWorker) -> None:
    billing = bus_for(BILLING)
    await billing.start()
    with pytest.raises(ServiceUnavailableError):
        await billing.rpc.call(worker.asks(), KeyResolved, timeout_s=0.5)
