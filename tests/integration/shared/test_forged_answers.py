"""Who tells: no service answers, reports or announces in another's name; the true word is heard."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aiormq.exceptions import ChannelAccessRefused
from pydantic import BaseModel

from services.api_edge.adapters.bus_runs import BusRuns
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from services.inference.handlers import Handlers as InferenceHandlers
from services.inference.use_cases.in_flight import InFlight
from services.inference.use_cases.remembered_keys import RememberedKeys
from services.key_vault.adapters.memory import KeyMemory
from services.key_vault.adapters.memory_watch import MemoryWatch
from shared.contracts import topology
from shared.contracts.billing import AuthorizeRun
from shared.contracts.credits import GetBalance
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.message import Message
from shared.contracts.rpc import Request, RpcReply
from shared.contracts.runs import RunChunk, RunCompleted, RunFailed, RunStarted
from shared.kernel.names import (
    API_EDGE,
    BILLING,
    INFERENCE,
    KEY_VAULT,
    SERVICES,
    CredentialStatus,
    KeyService,
    KeySource,
)
from shared.runtime.delivery import Delivery
from tests.integration.shared.intruders import ADMIN, Intruder, intruding
from tests.realm import BusFor, TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

_PATIENCE_S = 10.0
_USER = "alice"


class Told(BaseModel):
    """An answer."""

    word: str


_ASKED_BY: dict[str, Request] = {
    API_EDGE: GetBalance(user_id=_USER),
    INFERENCE: AuthorizeRun(
        run_id=uuid4(),
        attempt=1,
        user_id=_USER,
        provider=KeyService.OPENAI,
        model="openai/m",
        prompt_tokens_max=1,
        completion_tokens_max=1,
        expires_at=datetime.now(UTC),
    ),
}
_MAY_ANSWER = {API_EDGE: {KEY_VAULT, INFERENCE, BILLING, ADMIN}, INFERENCE: {KEY_VAULT, BILLING, ADMIN}}


@pytest.mark.parametrize("asker", _ASKED_BY)
async def test_a_forged_reply_is_dropped_and_the_right_one_taken(
    realm: TestRealm, bus_for: BusFor, asker: str
) -> None:
    request, truth = _ASKED_BY[asker], {"word": "truth"}
    came: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
    receiver, client = bus_for(request.receiver()), bus_for(asker)

    async def hold(delivery: Delivery) -> None:
        came.set_result(delivery)

    receiver.subscribe(f"{request.receiver()}.rpc", hold, prefetch=1)
    await receiver.start()
    await client.start()
    call = asyncio.create_task(client.rpc.call(request, Told, timeout_s=_PATIENCE_S))
    delivery = await came

    forgers = {*SERVICES, ADMIN} - {request.receiver()}
    let_through = {who for who in forgers if await _forge_replies(realm, who, delivery)}
    assert let_through == _MAY_ANSWER[asker] & forgers
    assert not call.done()
    await receiver.reply(delivery, RpcReply(result=truth))
    assert (await call).word == "truth"


async def _forge_replies(realm: TestRealm, who: str, asked: Delivery) -> bool:
    """Answer in the receiver's place, as oneself and as nobody; tell whether the broker delivers it."""
    lie = RpcReply(result={"word": "lie"})
    async with intruding(realm, who) as intruder:
        for claims in (True, False):
            forged = intruder.message(lie, claims=claims, answers=asked.correlation_id)
            try:
                await intruder.publish("replies", asked.reply_to or "", forged)
            except ChannelAccessRefused:
                return False
    return True


class Watched(InFlight):
    """Counts what it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.revoked: list[str] = []

    def revoke(self, credential_id: str) -> int:
        self.revoked.append(credential_id)
        return super().revoke(credential_id)


class Forgetful(KeyMemory):
    """Counts what it is told to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.forgot: list[str] = []

    def forget(self, user_id: str) -> None:
        self.forgot.append(user_id)
        super().forget(user_id)

    def forget_all(self) -> None:
        self.forgot.append("all")
        super().forget_all()


def _key_events() -> list[Message]:
    credential_id = uuid4()
    return [
        KeyRevoked(user_id=_USER, credential_id=credential_id),
        KeyStored(
            user_id=_USER,
            credential_id=credential_id,
            service=KeyService.OPENAI,
            version=1,
            status=CredentialStatus.ACTIVE,
        ),
        ConsentChanged(
            user_id=_USER, consent_id="c", allow_platform_fallback=True, allow_gateway_fallback=True
        ),
    ]


@dataclass(frozen=True)
class Listeners:
    """Those who heed key events, with the real handlers."""

    in_flight: Watched
    memory: Forgetful


@pytest.fixture
async def listeners(bus_for: BusFor) -> Listeners:
    async def yes() -> bool:
        return True

    made = Listeners(Watched(), Forgetful())
    worker, keeper = bus_for(INFERENCE), bus_for(KEY_VAULT)
    no_run: Any = None
    remembered = RememberedKeys(no_run, timeout_s=5)
    worker.on_broadcast(topology.KEYS, InferenceHandlers(no_run, made.in_flight, remembered).on_key_event)
    keeper.on_broadcast(topology.KEYS, MemoryWatch(made.memory, vault_is_open=yes, hears=yes).on_event)
    await worker.start()
    await keeper.start()
    return made


@pytest.mark.parametrize("who", [API_EDGE, INFERENCE, BILLING])
async def test_the_broker_refuses_forged_key_events(realm: TestRealm, bus_for: BusFor, who: str) -> None:
    victim = bus_for(INFERENCE)
    victim.on_broadcast(topology.KEYS, _ignore)
    await victim.start()
    _, _, instance = victim.reply_to.split(".")
    async with intruding(realm, who) as intruder:
        for event in _key_events():
            with pytest.raises(ChannelAccessRefused):
                await intruder.publish("keys", event.ROUTING_KEY, intruder.message(event))
            queue = topology.instance_queue(topology.KEYS, INFERENCE, instance)
            with pytest.raises(ChannelAccessRefused):
                await _past_the_exchange(intruder, queue, event)


async def _past_the_exchange(intruder: Intruder, queue: str, event: Message) -> None:
    target = (await intruder.channel()).default_exchange
    await target.publish(intruder.message(event), queue)


async def test_forged_key_events_change_nothing_and_true_ones_do(
    realm: TestRealm, bus_for: BusFor, listeners: Listeners
) -> None:
    key_vault = bus_for(KEY_VAULT)
    await key_vault.start()
    async with intruding(realm, ADMIN) as admin:
        for event in _key_events():
            for claims in (True, False):
                await admin.publish("keys", event.ROUTING_KEY, admin.message(event, claims=claims))
    true_ones = _key_events()
    for event in true_ones:
        await key_vault.publish(event)
    await until(lambda: listeners.memory.forgot == [_USER] * 3)
    assert listeners.in_flight.revoked == [str(getattr(true_ones[0], "credential_id"))]  # noqa: B009


async def test_forged_progress_is_dropped_and_the_workers_taken(realm: TestRealm, bus_for: BusFor) -> None:
    edge, worker, run_id = bus_for(API_EDGE), bus_for(INFERENCE), uuid4()
    waiting = WaitingRuns(10)
    BusRuns(edge, waiting)
    inbox = waiting.open(run_id)
    await edge.start()
    await worker.start()
    told = RunStarted(run_id=run_id, seq=0, attempt=1, key_source=KeySource.USER)
    lies: list[Message] = [
        told.model_copy(update={"key_source": KeySource.PLATFORM}),
        RunChunk(run_id=run_id, seq=0, chunks=("{}",)),
        RunCompleted(run_id=run_id, seq=1, key_source=KeySource.USER, response="{}"),
        RunFailed.model_validate({"run_id": run_id, "seq": 1, "error": {"code": "x", "message": "x"}}),
    ]
    for who in (KEY_VAULT, BILLING, ADMIN):
        async with intruding(realm, who) as intruder:
            for lie in lies:
                for claims in (True, False):
                    await intruder.publish("replies", edge.reply_to, intruder.message(lie, claims=claims))
    async with intruding(realm, API_EDGE) as another_edge:
        with pytest.raises(ChannelAccessRefused):
            await another_edge.publish("replies", edge.reply_to, another_edge.message(told))
    await worker.relay(told, edge.reply_to)
    async with asyncio.timeout(_PATIENCE_S):
        assert await inbox.get() == told


async def _ignore(_delivery: Delivery) -> None: ...
