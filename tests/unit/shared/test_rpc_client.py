import asyncio
import gc

import pytest

from shared.contracts.credits import Balance, GetBalance
from shared.contracts.rpc import ErrorBody, Request, RpcReply
from shared.kernel.errors import (
    BusUnavailableError,
    InsufficientCreditsError,
    InternalError,
    ServiceUnavailableError,
)
from shared.runtime.delivery import Delivery
from shared.runtime.rpc import RpcClient
from tests.envelopes import event_body

pytestmark = pytest.mark.unit

BALANCE = Balance(balance_micros=1, held_micros=0, receivable_micros=0)


class RecordingBus:
    def __init__(self) -> None:
        self.sent: list[tuple[Request, str, float]] = []

    async def request(self, message: Request, *, correlation_id: str, ttl_s: float) -> None:
        self.sent.append((message, correlation_id, ttl_s))


class LosingBus(RecordingBus):
    """Loses its connection while it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.client = RpcClient(self)

    async def request(self, message: Request, *, correlation_id: str, ttl_s: float) -> None:
        await super().request(message, correlation_id=correlation_id, ttl_s=ttl_s)
        self.client.fail_pending(BusUnavailableError)
        raise BusUnavailableError


def _reply(correlation_id: str, reply: RpcReply, sender: str = "billing") -> Delivery:
    return Delivery(event_body(reply, source=sender), sender, correlation_id=correlation_id)


def _ok() -> RpcReply:
    return RpcReply(result=BALANCE.model_dump(mode="json"))


@pytest.fixture
def bus() -> RecordingBus:
    return RecordingBus()


@pytest.fixture
def client(bus: RecordingBus) -> RpcClient:
    return RpcClient(bus)


async def _call(client: RpcClient, user: str = "u") -> asyncio.Task[Balance]:
    task = asyncio.create_task(client.call(GetBalance(user_id=user), Balance, timeout_s=5))
    await asyncio.sleep(0)
    return task


async def test_answers_reach_their_callers_in_any_order(client: RpcClient, bus: RecordingBus) -> None:
    slow, fast = await _call(client, "slow"), await _call(client, "fast")
    client.on_reply(_reply(bus.sent[1][1], _ok()))
    assert await fast == BALANCE
    assert not slow.done()
    client.on_reply(_reply(bus.sent[0][1], _ok()))
    assert await slow == BALANCE


async def test_a_typed_error_comes_back_as_itself(client: RpcClient, bus: RecordingBus) -> None:
    task = await _call(client)
    error = InsufficientCreditsError("not enough", service="billing")
    client.on_reply(_reply(bus.sent[0][1], RpcReply(error=ErrorBody.of(error))))
    with pytest.raises(InsufficientCreditsError, match="not enough"):
        await task


async def test_no_answer_in_time_is_the_receivers_unavailability_and_leaves_nothing(
    client: RpcClient, bus: RecordingBus
) -> None:
    with pytest.raises(ServiceUnavailableError) as late:
        await client.call(GetBalance(user_id="u"), Balance, timeout_s=0.01)
    assert (late.value.service, bus.sent[0][2]) == ("billing", 0.01)
    client.on_reply(_reply(bus.sent[0][1], _ok()))  # late: dropped


async def test_an_answer_from_someone_else_is_dropped(client: RpcClient, bus: RecordingBus) -> None:
    task = await _call(client)
    client.on_reply(_reply(bus.sent[0][1], _ok(), sender="inference"))
    await asyncio.sleep(0)
    assert not task.done()
    client.on_reply(_reply(bus.sent[0][1], _ok()))
    assert await task == BALANCE


async def test_a_lost_connection_fails_the_calls_in_flight(client: RpcClient) -> None:
    tasks = [await _call(client) for _ in range(3)]
    client.fail_pending(BusUnavailableError)
    for task in tasks:
        with pytest.raises(BusUnavailableError):
            await task


async def test_a_cancelled_call_is_forgotten(client: RpcClient, bus: RecordingBus) -> None:
    task = await _call(client)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    client.on_reply(_reply(bus.sent[0][1], _ok()))
    client.fail_pending(BusUnavailableError)


@pytest.mark.parametrize("reply", [RpcReply(result={"balance_micros": "many"}), RpcReply()])
async def test_a_malformed_answer_is_an_internal_error(
    client: RpcClient, bus: RecordingBus, reply: RpcReply
) -> None:
    task = await _call(client)
    client.on_reply(_reply(bus.sent[0][1], reply))
    with pytest.raises(InternalError):
        await task


async def test_a_loss_while_it_is_sent_is_told_once() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    with pytest.raises(BusUnavailableError):
        await LosingBus().client.call(GetBalance(user_id="u"), Balance, timeout_s=5)
    gc.collect()
    assert complaints == []
