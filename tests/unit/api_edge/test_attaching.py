"""A run is told again at most so often, and to everybody who asked."""

import asyncio

import pytest

from services.api_edge.use_cases.attaching import Attaching
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.kernel.errors import BusUnavailableError
from shared.kernel.ids import new_id
from tests.fakes.api_edge_worker import InMemoryRunBus

pytestmark = pytest.mark.unit


@pytest.fixture
def bus() -> InMemoryRunBus:
    return InMemoryRunBus(WaitingRuns(10))


async def test_those_who_ask_meanwhile_are_told_together_from_where_the_first_needs_it(
    bus: InMemoryRunBus,
) -> None:
    attach, run_id, other = Attaching(bus, pause_s=0.1), new_id(), new_id()
    for from_seq in (5, 3, 0, 7):
        await attach(run_id, from_seq)
    await attach(other, 2)
    assert bus.attached == [(run_id, 5), (other, 2)]
    await asyncio.sleep(0.15)
    assert bus.attached[2:] == [(run_id, 0)]


async def test_nothing_is_asked_again_that_nobody_asked_for(bus: InMemoryRunBus) -> None:
    attach, run_id = Attaching(bus, pause_s=0.05), new_id()
    await attach(run_id, 0)
    await asyncio.sleep(0.15)
    await attach(run_id, 1)
    assert bus.attached == [(run_id, 0), (run_id, 1)]


async def test_without_the_bus_whoever_asks_at_once_is_told_so_and_the_rest_ask_again(
    bus: InMemoryRunBus,
) -> None:
    attach, run_id = Attaching(bus, pause_s=0.05), new_id()
    bus.error = BusUnavailableError()
    with pytest.raises(BusUnavailableError):
        await attach(run_id, 0)
    await attach(run_id, 0)
    await asyncio.sleep(0.15)
    bus.error = None
    await attach(run_id, 4)
    assert bus.attached == [(run_id, 4)]
