"""A broker that is short of memory or disk: who publishes is told so, and by us refused at once."""

import asyncio
import time

import pytest
from pamqp import frame
from pamqp.commands import Connection
from structlog.testing import capture_logs

from services.api_edge.adapters.bus_runs import BusRuns
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts import topology
from shared.contracts.credits import Balance, GetBalance
from shared.contracts.runs import CancelRun, RunStarted
from shared.kernel.errors import BusUnavailableError, NotSentError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, INFERENCE, KeySource
from shared.runtime.delivery import Delivery
from tests.integration.shared.gated import gated
from tests.realm import BusFor, TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

BLOCKED = frame.marshal(Connection.Blocked(reason="low on disk"), 0)
UNBLOCKED = frame.marshal(Connection.Unblocked(), 0)
AT_ONCE_S = 0.5


async def ignore(_: Delivery) -> None:
    """Somebody is told."""


async def test_what_would_wait_for_the_broker_is_refused_at_once_until_it_is_well(
    realm: TestRealm, bus_for: BusFor
) -> None:
    worker = bus_for(INFERENCE)
    worker.on_broadcast(topology.CONTROL, ignore)
    await worker.start()
    async with gated(realm, API_EDGE) as (gate, edge):
        runs = BusRuns(edge, WaitingRuns(1))
        await edge.start()
        assert not runs.is_cut_off
        with capture_logs() as logs:
            gate.say(BLOCKED)
            await until(lambda: runs.is_cut_off)
            start = time.monotonic()
            for refused in (
                edge.publish(CancelRun(run_id=new_id())),
                edge.rpc.call(GetBalance(user_id="u"), Balance, timeout_s=5),
                edge.waiting(topology.INFERENCE_RUNS),
            ):
                with pytest.raises(BusUnavailableError):
                    await refused
            with pytest.raises(NotSentError):
                await edge.publish(CancelRun(run_id=new_id()))
            assert time.monotonic() - start < AT_ONCE_S

            gate.say(UNBLOCKED)
            await until(lambda: edge.connected)

        await edge.publish(CancelRun(run_id=new_id()))
    assert [line["event"] for line in logs if "rabbitmq" in line["event"]] == [
        "rabbitmq takes nothing: it is short of memory or disk",
        "rabbitmq takes messages again",
    ]


async def test_what_goes_on_is_told_all_the_same(realm: TestRealm, bus_for: BusFor) -> None:
    edge, told = bus_for(API_EDGE), asyncio.Event()
    edge.on_reply(lambda _: told.set())
    await edge.start()
    async with gated(realm, INFERENCE) as (gate, worker):
        await worker.start()
        gate.say(BLOCKED)
        await until(lambda: not worker.connected)
        started = RunStarted(run_id=new_id(), seq=0, attempt=1, key_source=KeySource.USER)
        await worker.relay(started, edge.reply_to)
        await until(told.is_set)
