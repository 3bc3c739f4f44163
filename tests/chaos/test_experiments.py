"""Each part is killed, frozen or restarted, again and again, under load; in the end everything adds up.

`make chaos ONLY=worker_steps SEED=7` runs one of them, as `SEED=7` in its output had it.
"""

from pathlib import Path

import pytest

from infra.local.home import Home
from tests.chaos.anything import kill_anything
from tests.chaos.billing_commits import kill_between_commit_and_ack
from tests.chaos.experiment import experiment
from tests.chaos.frozen import freeze_at
from tests.chaos.fuses import Step
from tests.chaos.grounds import open_grounds
from tests.chaos.hot_account import spend_at_once
from tests.chaos.servers import FAST, IMMEDIATE, SMART, kill_rabbitmq, restart_postgres, starve_rabbitmq
from tests.chaos.threefold import deliver_threefold
from tests.chaos.worker_steps import kill_at_each

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


async def test_worker_steps(home: Home, tmp_path: Path) -> None:
    """kill -9 of the worker at each step of a run, 20 times each."""
    async with open_grounds(home, tmp_path, mortal=8) as at, experiment("worker_steps", at) as tally:
        await kill_at_each(list(Step), at, tally, times=20, callers=8)


async def test_billing_commits(home: Home, tmp_path: Path) -> None:
    """kill -9 of billing between commit and acknowledgement, 100 times."""
    async with (
        open_grounds(home, tmp_path, steady=2, billings=3, mortal_billings=True) as at,
        experiment("billing_commits", at) as tally,
    ):
        await kill_between_commit_and_ack(at, tally, times=100, at_once=12)


async def test_rabbitmq(home: Home, tmp_path: Path) -> None:
    """kill -9 of RabbitMQ under load, 10 times."""
    async with open_grounds(home, tmp_path, steady=2) as at, experiment("rabbitmq", at) as tally:
        await kill_rabbitmq(at, tally, times=10, callers=8)


async def test_alarm(home: Home, tmp_path: Path) -> None:
    """RabbitMQ is short of disk under load, for 2 to 25 s, six times."""
    async with open_grounds(home, tmp_path, steady=2) as at, experiment("alarm", at) as tally:
        await starve_rabbitmq(at, tally, lengths_s=(2, 2, 8, 8, 16, 25), callers=8)


async def test_postgres(home: Home, tmp_path: Path) -> None:
    """Postgres restarted under load, 10 times, in every way it knows."""
    async with open_grounds(home, tmp_path, steady=2) as at, experiment("postgres", at) as tally:
        await restart_postgres(at, tally, modes=(SMART,) * 3 + (FAST,) * 3 + (IMMEDIATE,) * 4, callers=8)


async def test_frozen_worker(home: Home, tmp_path: Path) -> None:
    """SIGSTOP of a worker past its lease, then SIGCONT, at each step of a run."""
    async with (
        open_grounds(home, tmp_path, mortal=4, steady=2) as at,
        experiment("frozen_worker", at) as tally,
    ):
        steps = list(Step)
        await freeze_at(at, tally, steps[:4], cut=False)
        await freeze_at(at, tally, steps[4:], cut=False)


async def test_threefold(home: Home, tmp_path: Path) -> None:
    """Every usage event delivered three times, shuffled."""
    async with open_grounds(home, tmp_path, steady=2) as at, experiment("threefold", at) as tally:
        await deliver_threefold(at, tally, users=12, each=12)


async def test_hot_account(home: Home, tmp_path: Path) -> None:
    """Several edges spend one account's credits while workers die."""
    async with open_grounds(home, tmp_path, steady=4, edges=2) as at, experiment("hot_account", at) as tally:
        await spend_at_once(at, tally, lasts_s=45, callers=40)


async def test_anything(home: Home, tmp_path: Path) -> None:
    """kill -9 of whatever chance picks, for two minutes."""
    async with open_grounds(home, tmp_path, steady=2) as at, experiment("anything", at) as tally:
        await kill_anything(at, tally, lasts_s=120, callers=12)
