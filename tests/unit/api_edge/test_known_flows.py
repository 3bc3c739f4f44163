"""Flows in memory: fresh within a second, one query for many runs, the last known while Postgres is away."""

import asyncio

import pytest

from services.api_edge.api import shipped_flows
from services.api_edge.domain.flows import Flow, FlowChange, Flows
from services.api_edge.use_cases.known_flows import KnownFlows
from shared.kernel.errors import DatabaseUnavailableError, NotFoundError
from shared.kernel.names import KeyPolicy, Role
from tests.fakes.api_edge_stores import InMemoryFlowStore

pytestmark = pytest.mark.unit

REQUIRED, PREFERRED = KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class SlowStore(InMemoryFlowStore):
    """Reads what is there when asked, and answers when it is let."""

    def __init__(self, *flows: Flow) -> None:
        super().__init__(*flows)
        self.release = asyncio.Event()

    async def all(self) -> tuple[Flow, ...]:
        found = await super().all()
        await self.release.wait()
        return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> InMemoryFlowStore:
    return InMemoryFlowStore(*shipped_flows())


def _policy(flows: Flows) -> KeyPolicy:
    return flows.named("chat", Role.USER).policy


async def _change_elsewhere(store: InMemoryFlowStore) -> None:
    await store.change("chat", FlowChange(policy=REQUIRED), by="root")


async def test_many_runs_cost_one_query(store: InMemoryFlowStore, clock: Clock) -> None:
    known = KnownFlows(store, shipped_flows(), clock=clock)
    await asyncio.gather(*(known() for _ in range(100)))
    clock.now += 0.4
    await known()
    assert store.read == 1


async def test_what_changes_elsewhere_holds_within_a_second(store: InMemoryFlowStore, clock: Clock) -> None:
    known = KnownFlows(store, shipped_flows(), clock=clock)
    assert _policy(await known()) is PREFERRED
    await _change_elsewhere(store)
    clock.now += 1.01
    assert _policy(await known()) is REQUIRED


async def test_a_busy_instance_reads_ahead_and_no_run_waits(clock: Clock) -> None:
    store = SlowStore(*shipped_flows())
    store.release.set()
    known = KnownFlows(store, shipped_flows(), clock=clock)
    await known()
    store.release.clear()
    await _change_elsewhere(store)
    clock.now += 0.6
    assert _policy(await asyncio.wait_for(known(), 0.1)) is PREFERRED
    store.release.set()
    await asyncio.sleep(0.01)
    assert _policy(await known()) is REQUIRED
    assert store.read == 2


async def test_a_change_here_holds_at_once(store: InMemoryFlowStore, clock: Clock) -> None:
    known = KnownFlows(store, shipped_flows(), clock=clock)
    await known()
    changed = await known.change("chat", FlowChange(policy=REQUIRED, report_only=True), by="root")
    assert (changed.policy, changed.report_only) == (REQUIRED, True)
    assert _policy(await known()) is REQUIRED
    assert store.changed_by == {"chat": "root"}


async def test_an_older_reading_does_not_undo_a_change(clock: Clock) -> None:
    store = SlowStore(*shipped_flows())
    store.release.set()
    known = KnownFlows(store, shipped_flows(), clock=clock)
    await known()
    store.release.clear()
    clock.now += 0.6
    await known()  # a reading is on its way, with the old policy
    await asyncio.sleep(0)
    await known.change("chat", FlowChange(policy=REQUIRED), by="root")
    store.release.set()
    assert _policy(await known()) is REQUIRED
    assert _policy(await known()) is REQUIRED


async def test_an_unknown_flow_is_not_changed(store: InMemoryFlowStore) -> None:
    with pytest.raises(NotFoundError):
        await KnownFlows(store, shipped_flows()).change("nope", FlowChange(), by="root")


async def test_while_the_database_is_away_the_last_known_hold(store: InMemoryFlowStore, clock: Clock) -> None:
    known = KnownFlows(store, shipped_flows(), clock=clock)
    await _change_elsewhere(store)
    await known()
    store.error = DatabaseUnavailableError()
    clock.now += 3600
    assert _policy(await known()) is REQUIRED
    with pytest.raises(DatabaseUnavailableError):
        await known.change("chat", FlowChange(policy=PREFERRED), by="root")
    store.error = None
    await store.change("chat", FlowChange(policy=PREFERRED), by="root")
    assert _policy(await known()) is PREFERRED


async def test_what_was_never_read_is_not_guessed(store: InMemoryFlowStore, clock: Clock) -> None:
    """What ships may be laxer than what an administrator decided."""
    store.error = DatabaseUnavailableError()
    known = KnownFlows(store, shipped_flows(), clock=clock)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailableError):
            await known()
    store.error = None
    assert _policy(await known()) is PREFERRED


async def test_a_frozen_database_delays_a_run_by_a_second_at_most(clock: Clock) -> None:
    store = SlowStore(*shipped_flows())
    known = KnownFlows(store, shipped_flows(), clock=clock)
    with pytest.raises(DatabaseUnavailableError):
        await asyncio.wait_for(known(), 2)
    store.release.set()
    assert _policy(await known()) is PREFERRED
    assert store.read == 1


async def test_a_defect_is_not_hidden(store: InMemoryFlowStore, clock: Clock) -> None:
    known = KnownFlows(store, shipped_flows(), clock=clock)
    store.error = ZeroDivisionError()  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        await known()


async def test_what_is_not_kept_yet_is_as_shipped(clock: Clock) -> None:
    known = KnownFlows(InMemoryFlowStore(), shipped_flows(), clock=clock)
    assert {flow.name for flow in await known()} == {flow.name for flow in shipped_flows()}
