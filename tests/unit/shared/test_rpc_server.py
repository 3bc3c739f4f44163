from collections.abc import Callable

import pytest

from shared.contracts.credits import Balance, GetBalance
from shared.contracts.rpc import RpcReply
from shared.kernel.errors import InsufficientCreditsError
from shared.runtime.delivery import Delivery
from shared.runtime.rpc import Route, RpcServer
from tests.envelopes import event_body
from tests.fakes.bus import InMemoryBus

pytestmark = pytest.mark.unit

CANARY = "sk-canary-0123456789"


async def _balance(request: GetBalance) -> Balance:
    if request.user_id == "poor":
        raise InsufficientCreditsError
    if request.user_id == "bug":
        raise ValueError(CANARY)
    balance = 2**64 if request.user_id == "rich" else 1
    return Balance(balance_micros=balance, held_micros=0, receivable_micros=0)


def _request(user: str = "alice") -> bytes:
    return event_body(GetBalance(user_id=user), source="api_edge")


# Bodies are written when they are sent: a request from another time would be refused.
@pytest.mark.parametrize(
    ("write", "sender", "code"),
    [
        (_request, "api_edge", None),
        (lambda: _request("poor"), "api_edge", "insufficient_credits"),
        (lambda: _request("bug"), "api_edge", "internal_error"),
        (_request, "inference", "forbidden"),
        (_request, "", "forbidden"),
        (CANARY.encode, "api_edge", "invalid_request"),
        (lambda: _request().replace(b"balance.v1", b"nothing.v1"), "api_edge", "invalid_request"),
        (lambda: _request().replace(b'"alice"', b'{"a":1}'), "api_edge", "invalid_request"),
    ],
)
async def test_every_request_is_answered_typed_and_without_its_body(
    write: Callable[[], bytes], sender: str, code: str | None
) -> None:
    body = write()
    bus = InMemoryBus("billing")
    server = RpcServer(bus, "billing.rpc", [Route(GetBalance, _balance, ("api_edge",))])
    await server.on_request(Delivery(body, sender, reply_to="reply.api_edge.e", correlation_id="c"))
    (answer,) = bus.answers
    assert (answer.error.code if answer.error else None) == code
    assert (answer.result is not None) is (code is None)
    assert CANARY not in answer.model_dump_json()


class _Writing(InMemoryBus):
    """Writes its answers, as the broker's bus does."""

    async def reply(self, to: Delivery, answer: RpcReply) -> None:
        event_body(answer, source=self.service)
        await super().reply(to, answer)


async def test_an_answer_that_cannot_be_written_is_an_error_and_not_tried_again() -> None:
    bus = _Writing("billing")
    server = RpcServer(bus, "billing.rpc", [Route(GetBalance, _balance, ("api_edge",))])
    await server.on_request(Delivery(_request("rich"), "api_edge", reply_to="r", correlation_id="c"))
    (answer,) = bus.answers
    assert answer.error is not None
    assert answer.error.code == "internal_error"
