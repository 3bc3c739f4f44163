"""Who asks: no service asks in another's name, by any way its login allows.

The receivers are the services' own handlers on the real broker; behind them stands a use case that counts.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused

from services.inference.handlers import RequestHandlers
from services.key_vault.handlers.requests import RequestHandlers as KeyVaultHandlers
from shared.contracts import topology
from shared.contracts.keys import StoreKey
from shared.contracts.resolving import KeyOpened, KeyResolved, OpenKey, ResolveKey
from shared.contracts.rpc import Request, RpcReply
from shared.contracts.validation import KeyValidated, ValidateKey
from shared.kernel.errors import NotFoundError
from shared.kernel.names import (
    API_EDGE,
    BILLING,
    INFERENCE,
    KEY_VAULT,
    SERVICES,
    KeyPolicy,
    KeyService,
)
from shared.runtime.bus import Bus
from shared.runtime.delivery import Delivery, Handler
from shared.runtime.metrics import BusMeters
from shared.runtime.rpc import RpcServer
from shared.runtime.sealing import KeyPair
from shared.runtime.tracing import Tracing
from tests.fakes.inference import InMemoryModelLister
from tests.integration.shared.intruders import ADMIN, Ear, Intruder, intruding
from tests.realm import BusFor, TestRealm

pytestmark = pytest.mark.integration

_PATIENCE_S = 10.0
_USER = "alice"
_INTRUDERS_KEY = KeyPair.generate().public_key


def _resolve() -> ResolveKey:
    """Ask for a user's key, sealed to the intruder's own public key."""
    return ResolveKey(
        run_id=uuid4(),
        attempt=1,
        user_id=_USER,
        flow="chat",
        policy=KeyPolicy.USER_KEY_REQUIRED,
        provider=KeyService.OPENAI,
        worker_public_key=_INTRUDERS_KEY,
    )


def _open() -> OpenKey:
    return OpenKey(
        validation_id=uuid4(),
        user_id=_USER,
        service=KeyService.OPENAI,
        credential_id=uuid4(),
        worker_public_key=_INTRUDERS_KEY,
    )


def _validate() -> ValidateKey:
    return ValidateKey(
        validation_id=uuid4(), user_id=_USER, service=KeyService.OPENAI, base_url="https://intruder.example"
    )


# Each request with its one rightful sender, and what it would be answered with.
ASKS: dict[Callable[[], Request], tuple[str, type[Any]]] = {
    _resolve: (INFERENCE, KeyResolved),
    _open: (INFERENCE, KeyOpened),
    _validate: (API_EDGE, KeyValidated),
}
_UNRIGHTFUL = [(who, ask) for ask, (sender, _) in ASKS.items() for who in SERVICES if who != sender]


@dataclass
class Receivers:
    """key_vault and inference, listening; `done` is what got through to their use cases."""

    done: list[Request] = field(default_factory=list)
    answers: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    """The codes of inference's answers: it may not give them to an intruder's address."""

    async def do(self, request: Request) -> Any:
        self.done.append(request)
        raise NotFoundError("no such key")


@dataclass
class Overheard:
    """A bus whose answers are told to the test, too."""

    bus: Bus
    answers: asyncio.Queue[str | None]
    service: str = INFERENCE

    @property
    def meters(self) -> BusMeters:
        return self.bus.meters

    @property
    def tracing(self) -> Tracing:
        return self.bus.tracing

    def subscribe(self, queue: str, handler: Handler, /, *, prefetch: int) -> None:
        self.bus.subscribe(queue, handler, prefetch=prefetch)

    async def reply(self, to: Delivery, answer: RpcReply, /) -> None:
        self.answers.put_nowait(answer.error.code if answer.error else None)
        await self.bus.reply(to, answer)


@pytest.fixture
async def receivers(bus_for: BusFor) -> Receivers:
    made = Receivers()
    key_vault, inference = bus_for(KEY_VAULT), bus_for(INFERENCE)
    use_cases: dict[str, Any] = {one.name: made.do for one in fields(KeyVaultHandlers)}
    RpcServer(key_vault, topology.KEY_VAULT_RPC, KeyVaultHandlers(**use_cases).routes())
    validate: Any = made.do
    RpcServer(
        Overheard(inference, made.answers),
        topology.INFERENCE_RPC,
        RequestHandlers(validate, InMemoryModelLister()).routes(),
    )
    await key_vault.start()
    await inference.start()
    return made


def _name(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("ask", ASKS, ids=_name)
async def test_the_rightful_sender_is_heard(
    receivers: Receivers, bus_for: BusFor, ask: Callable[[], Request]
) -> None:
    sender, answer = ASKS[ask]
    bus = bus_for(sender)
    await bus.start()
    with pytest.raises(NotFoundError):
        await bus.rpc.call(ask(), answer, timeout_s=_PATIENCE_S)
    assert len(receivers.done) == 1


@pytest.mark.parametrize(("who", "ask"), _UNRIGHTFUL, ids=_name)
async def test_the_broker_refuses_everybody_else(
    realm: TestRealm, who: str, ask: Callable[[], Request]
) -> None:
    request = ask()
    async with intruding(realm, who) as intruder:
        for claims in (True, False):
            with pytest.raises(ChannelAccessRefused):
                await intruder.publish("rpc", request.ROUTING_KEY, intruder.message(request, claims=claims))


# Only these two may write to the exchange at all.
@pytest.mark.parametrize("claims", [True, False])
@pytest.mark.parametrize("way", [Intruder.by_alternate_exchange, Intruder.by_dead_letters])
@pytest.mark.parametrize(
    ("who", "ask"), [(API_EDGE, _resolve), (API_EDGE, _open), (INFERENCE, _validate)], ids=_name
)
async def test_who_gets_in_by_a_back_way_is_refused_by_the_receiver(
    realm: TestRealm, receivers: Receivers, way: Any, *, who: str, ask: Callable[[], Request], claims: bool
) -> None:
    request = ask()
    async with intruding(realm, who) as intruder:
        ear = await intruder.listen()
        forged = intruder.message(request, claims=claims, reply_to=ear.name)
        await way(intruder, "rpc", request.ROUTING_KEY, forged)
        await _is_refused(request, ear, receivers)


@pytest.mark.parametrize("way", [Intruder.by_alternate_exchange, Intruder.by_dead_letters])
@pytest.mark.parametrize(
    ("who", "exchange"),
    [
        *((who, "rpc") for who in (KEY_VAULT, BILLING)),
        *((who, "keys") for who in (API_EDGE, INFERENCE, BILLING)),
        *((who, "control") for who in (KEY_VAULT, INFERENCE, BILLING)),
        *((who, "inference") for who in (KEY_VAULT, INFERENCE, BILLING)),
        *((who, "usage") for who in (API_EDGE, KEY_VAULT)),
    ],
)
async def test_others_have_no_back_way(realm: TestRealm, who: str, exchange: str, way: Any) -> None:
    async with intruding(realm, who) as intruder:
        with pytest.raises(ChannelAccessRefused):
            await way(intruder, exchange, "x", aio_pika.Message(b"{}"))


@pytest.mark.parametrize("claims", [True, False])
@pytest.mark.parametrize("ask", ASKS, ids=_name)
async def test_even_the_administrators_request_is_refused(
    realm: TestRealm,
    receivers: Receivers,
    ask: Callable[[], Request],
    claims: bool,  # noqa: FBT001
) -> None:
    request = ask()
    async with intruding(realm, ADMIN) as admin:
        ear = await admin.listen()
        message = admin.message(request, claims=claims, reply_to=ear.name)
        await admin.publish("rpc", request.ROUTING_KEY, message)
        await _is_refused(request, ear, receivers)


async def test_nobody_else_stores_a_key(realm: TestRealm, receivers: Receivers) -> None:
    request = StoreKey.model_validate(
        {
            "credential_id": uuid4(),
            "user_id": _USER,
            "service": "openai",
            "sealed": {"ciphertext": "", "expires_at": "2030-01-01T00:00:00Z"},
        }
    )
    async with intruding(realm, INFERENCE) as intruder:
        ear = await intruder.listen()
        forged = intruder.message(request, reply_to=ear.name)
        await intruder.by_alternate_exchange("rpc", request.ROUTING_KEY, forged)
        reply = await ear.reply()
        assert (reply.error.code if reply.error else None) == "forbidden"
    assert receivers.done == []


async def _is_refused(request: Request, ear: Ear, receivers: Receivers) -> None:
    """It came, and was refused."""
    if request.receiver() == KEY_VAULT:
        reply = await ear.reply()
        assert (reply.error.code if reply.error else None) == "forbidden"
    else:
        async with asyncio.timeout(_PATIENCE_S):
            assert await receivers.answers.get() == "forbidden"
    assert receivers.done == []
