"""SIGSTOP of a worker past its lease, at each step of a run; SIGCONT when others have ended what it held."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import aio_pika

from shared.contracts.topology import INFERENCE_RUNS
from tests.acceptance.house import eventually
from tests.chaos.experiment import Tally
from tests.chaos.fuses import Act, Fuse, Step
from tests.chaos.grounds import Grounds
from tests.chaos.users import Asked, User, a_payer, an_owner
from tests.chaos.witness import all_is_over
from tests.chaos.worker_steps import EXPECTED, check_ends

_LOST_S: Final = 60.0
_LATE_S: Final = 1.0
"""How long after a run's answer its worker may come to the last steps."""
_ATTEMPTS: Final = """
    SELECT run_id::text, attempt, worker, outcome, usage::text, ended_at FROM inference.attempts ORDER BY 1, 2
"""
_GIVEN_UP: Final = frozenset({"worker_lost", "service_unavailable"})
"""Before the broker misses the worker's heartbeats its client gives up, when it has not heard of a beginning:
the word of it, or the first chunk that stands for it, may be frozen, too.
"""
THAWED: Final = {
    **EXPECTED,
    # It calls when it thaws, once and for nobody: its attempt is over.
    **{
        step: EXPECTED[step]._replace(calls=frozenset({0, 1}), codes=_GIVEN_UP)
        for step in (Step.AFTER_CLAIM, Step.BEFORE_CALL)
    },
    Step.AFTER_FIRST_CHUNK: EXPECTED[Step.AFTER_FIRST_CHUNK]._replace(codes=_GIVEN_UP),
}


async def freeze_at(at: Grounds, tally: Tally, steps: Sequence[Step], *, cut: bool) -> None:
    """Freeze a mortal worker at each of these steps, at once; there are as many. `cut`: so are their
    connections, and nobody waits until the broker misses their heartbeats.
    """
    users, numbers = [await an_owner(at.house), await a_payer(at.house)], count()

    async def freeze(step: Step) -> tuple[Fuse, asyncio.Task[Asked]]:
        user = tally.rng.choice(users)
        while True:
            fuse = Fuse(Act.STOP, step, f"#{step}{next(numbers)}")
            asking = asyncio.create_task(_ask(user, fuse))
            if await _froze(at, fuse, asking):
                return fuse, asking
            tally.asked.append(await asking)  # a steady worker had it

    frozen = dict(await asyncio.gather(*(freeze(step) for step in steps)))
    tally.kills += len(frozen)
    ended = await _wait_for_others(at, frozen, cut=cut)
    before = await at.house.rows(_ATTEMPTS)
    await _thaw(at)
    tally.asked += ended.values()
    assert await _of_runs(at, ended) == [row for row in before if row["run_id"] in _ids(ended)]
    await check_ends(at, ended, THAWED)


async def _ask(user: User, fuse: Fuse) -> Asked:
    return await user.ask(f"{fuse} [simulate chunks=4 chunk_ms=20 tokens=20,30] asleep", stream=True)


async def _froze(at: Grounds, fuse: Fuse, asking: asyncio.Task[Asked]) -> bool:
    while not asking.done() and not at.fuses.is_burnt(fuse):
        await asyncio.sleep(0.02)
    if not at.fuses.is_burnt(fuse):
        await asyncio.sleep(_LATE_S)
    return at.fuses.is_burnt(fuse)


async def _wait_for_others(
    at: Grounds, frozen: dict[Fuse, asyncio.Task[Asked]], *, cut: bool
) -> dict[Fuse, Asked]:
    """Until the broker has given the frozen workers up, and all that they held has ended."""

    async def are_frozen() -> bool:  # a fuse is burnt a moment before
        return all(at.is_frozen(part) for part in at.mortal)

    await eventually(are_frozen, "all are frozen")
    if cut:
        await asyncio.gather(*(gate.close() for gate in at.gates.values()))
    steady = len(at.house.workers) - len(at.mortal)
    await _until_consumed_by(at, steady)
    ended = dict(zip(frozen, await asyncio.gather(*frozen.values()), strict=True))
    await all_is_over(at.house)
    assert all(at.is_frozen(part) for part in at.mortal)
    return ended


async def _thaw(at: Grounds) -> None:
    """And wait until the thawed have done what they still do."""
    await asyncio.gather(*(gate.open() for gate in at.gates.values()))
    for part in at.mortal:
        at.thaw(part)
    await _until_consumed_by(at, len(at.house.workers))
    await asyncio.sleep(2 * _LATE_S)
    await all_is_over(at.house)


async def _until_consumed_by(at: Grounds, workers: int) -> None:
    async with await aio_pika.connect(at.house.realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        channel = await connection.channel()

        async def is_so() -> bool:
            queue = await channel.declare_queue(INFERENCE_RUNS, passive=True)
            return queue.declaration_result.consumer_count == workers

        await eventually(is_so, f"{workers} workers take runs", timeout_s=_LOST_S)


def _ids(ended: dict[Fuse, Asked]) -> set[str]:
    return {run.run_id for run in ended.values()}


async def _of_runs(at: Grounds, ended: dict[Fuse, Asked]) -> list[Any]:
    return [row for row in await at.house.rows(_ATTEMPTS) if row["run_id"] in _ids(ended)]
