"""Expired and replayed requests are refused; what is legitimate is not."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.credits import Balance, GetBalance
from shared.contracts.rpc import RpcReply
from shared.kernel.errors import ConflictError, InvalidRequestError, ServiceUnavailableError
from shared.runtime.delivery import Delivery
from shared.runtime.replays import WINDOW_S, Replays
from shared.runtime.rpc import Route, RpcServer
from tests.envelopes import event_body
from tests.fakes.bus import InMemoryBus

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def replays(clock: Clock) -> Replays:
    return Replays(clock=clock, remembered_max=100)


def _request(
    *,
    sent: datetime = NOW,
    event_id: str | None = None,
    sender: str = "api_edge",
    redelivered: bool = False,
    ttl_s: float | None = None,
) -> Delivery:
    body = event_body(GetBalance(user_id="u"), source=sender, event_id=event_id, time=sent)
    return Delivery(body, sender, redelivered, reply_to="reply.api_edge.1", correlation_id="c", ttl_s=ttl_s)


def test_a_copy_is_refused_as_long_as_its_age_would_let_it_pass(replays: Replays, clock: Clock) -> None:
    ahead = _request(sent=NOW + timedelta(seconds=WINDOW_S))  # its sender's clock is a minute ahead
    replays.check(ahead)
    for seconds in range(0, int(2 * WINDOW_S) + 1, 10):
        clock.now = NOW + timedelta(seconds=seconds)
        with pytest.raises(ConflictError):
            replays.check(ahead)
    clock.now = NOW + timedelta(seconds=2 * WINDOW_S + 0.001)
    with pytest.raises(InvalidRequestError, match="time"):
        replays.check(ahead)


@pytest.mark.parametrize(("off_s", "passes"), [(-61, False), (-59, True), (59, True), (61, False)])
def test_its_time_is_within_a_minute_of_ours(replays: Replays, off_s: int, passes: bool) -> None:  # noqa: FBT001
    request = _request(sent=NOW + timedelta(seconds=off_s))
    if passes:
        replays.check(request)
    else:
        with pytest.raises(InvalidRequestError):
            replays.check(request)
    assert len(replays) == passes


@pytest.mark.parametrize(("age_s", "passes"), [(-3, True), (0, True), (4.9, True), (5.1, False), (30, False)])
def test_nothing_is_done_that_its_caller_has_given_up(replays: Replays, age_s: float, passes: bool) -> None:  # noqa: FBT001
    """A replica that stood still was handed it in time. Meanwhile another has done what came after it."""
    request = _request(sent=NOW - timedelta(seconds=age_s), ttl_s=5)
    if passes:
        replays.check(request)
    else:
        with pytest.raises(ServiceUnavailableError):
            replays.check(request)


def test_what_the_broker_delivers_again_passes_and_does_not_open_the_door(replays: Replays) -> None:
    replays.check(_request(event_id="one"))
    replays.check(_request(event_id="one", redelivered=True))
    with pytest.raises(ConflictError):
        replays.check(_request(event_id="one"))


def test_ids_are_each_senders_own(replays: Replays) -> None:
    replays.check(_request(event_id="one", sender="inference"))
    replays.check(_request(event_id="one", sender="api_edge"))


def test_memory_is_bounded_by_time_and_by_number(replays: Replays, clock: Clock) -> None:
    for _ in range(1000):
        replays.check(_request())
    assert len(replays) == 100
    clock.now += timedelta(seconds=WINDOW_S + 1)
    replays.check(_request(sent=clock.now))
    assert len(replays) == 1


async def _served(*deliveries: Delivery) -> tuple[list[str], list[RpcReply]]:
    """Hand a server some requests; return for whom it did its work, and its answers."""
    done: list[str] = []

    async def balance(request: GetBalance) -> Balance:
        done.append(request.user_id)
        return Balance(balance_micros=1, held_micros=0, receivable_micros=0)

    bus = InMemoryBus("billing")
    server = RpcServer(bus, "billing.rpc", [Route(GetBalance, balance, ("api_edge",))])
    for delivery in deliveries:
        await server.on_request(delivery)
    return done, bus.answers


def _codes(answers: list[RpcReply]) -> list[str | None]:
    return [answer.error.code if answer.error else None for answer in answers]


async def test_a_server_does_a_replayed_request_once() -> None:
    request = _request(sent=datetime.now(UTC))
    done, answers = await _served(request, request, request)
    assert done == ["u"]
    assert _codes(answers) == [None, "conflict", "conflict"]


async def test_a_server_refuses_an_old_request() -> None:
    done, answers = await _served(_request(sent=datetime.now(UTC) - timedelta(minutes=2)))
    assert done == []
    assert _codes(answers) == ["invalid_request"]


async def test_a_strangers_request_uses_up_no_id() -> None:
    now = datetime.now(UTC)
    forged, real = _request(sent=now, event_id="one", sender=""), _request(sent=now, event_id="one")
    done, answers = await _served(forged, real)
    assert done == ["u"]
    assert _codes(answers) == ["forbidden", None]
