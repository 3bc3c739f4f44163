"""A little of each experiment of `make chaos`, in one house on a native stack of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.billing_commits import kill_between_commit_and_ack
from tests.chaos.experiment import experiment
from tests.chaos.frozen import freeze_at
from tests.chaos.fuses import Step
from tests.chaos.grounds import Grounds, open_grounds
from tests.chaos.hot_account import spend_at_once
from tests.chaos.servers import SHUTDOWNS, kill_rabbitmq, restart_postgres
from tests.chaos.threefold import deliver_threefold
from tests.chaos.worker_steps import kill_at_each
from tests.native import native_home
from tests.nursery import Nursery

pytestmark = pytest.mark.acceptance


@pytest_asyncio.fixture(scope="module")
async def at(parents: Nursery, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Grounds]:
    folder = tmp_path_factory.mktemp("crashes")
    async with (
        native_home() as home,
        open_grounds(
            home, folder, mortal=3, steady=1, edges=2, mortal_billings=True, gated=True, parents=parents
        ) as grounds,
    ):
        yield grounds


async def test_workers_are_killed_at_steps_of_a_run(at: Grounds) -> None:
    async with experiment("worker_steps", at) as tally:
        await kill_at_each(tally.rng.sample(list(Step), 4), at, tally, times=1, callers=3)


async def test_billing_is_killed_between_commit_and_acknowledgement(at: Grounds) -> None:
    async with experiment("billing_commits", at) as tally:
        await kill_between_commit_and_ack(at, tally, times=2, at_once=4)


async def test_rabbitmq_is_killed_under_load(at: Grounds) -> None:
    async with experiment("rabbitmq", at) as tally:
        await kill_rabbitmq(at, tally, times=1, callers=3)


async def test_postgres_is_restarted_under_load(at: Grounds) -> None:
    async with experiment("postgres", at) as tally:
        await restart_postgres(at, tally, modes=[tally.rng.choice(SHUTDOWNS)], callers=3)


async def test_workers_are_frozen_past_their_lease(at: Grounds) -> None:
    async with experiment("frozen_worker", at) as tally:
        await freeze_at(at, tally, tally.rng.sample(list(Step), len(at.mortal)), cut=True)


async def test_every_usage_event_comes_three_times_shuffled(at: Grounds) -> None:
    async with experiment("threefold", at) as tally:
        await deliver_threefold(at, tally, users=3, each=3)


async def test_one_account_is_spent_from_at_once_while_workers_die(at: Grounds) -> None:
    async with experiment("hot_account", at) as tally:
        await spend_at_once(at, tally, lasts_s=3, callers=30)
