"""kill -9 of the worker at each step of a run."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final, NamedTuple

from shared.kernel.names import Outcome
from tests.chaos.experiment import Tally
from tests.chaos.fuses import Act, Fuse, Step
from tests.chaos.grounds import Grounds
from tests.chaos.users import OK, Asked, a_payer, an_owner
from tests.chaos.witness import all_is_over

_LASTS_S: Final = 480


class Expected(NamedTuple):
    """What may become of a run whose worker was killed at a step: its end, its calls, its client's answer."""

    outcomes: frozenset[str]
    calls: frozenset[int]
    codes: frozenset[str]

    def fits(self, outcome: str, calls: int, code: str) -> bool:
        return outcome in self.outcomes and calls in self.calls and code in self.codes


_LOST: Final = frozenset({"worker_lost"})
_INTERRUPTED: Final = frozenset({Outcome.INTERRUPTED.value})
_COMPLETED: Final = frozenset({Outcome.COMPLETED.value})
_ONCE, _NEVER = frozenset({1}), frozenset({0})
_LATE: Final = Expected(frozenset({Outcome.EXPIRED.value}), _NEVER, frozenset({"service_unavailable"}))
"""No worker was free in time, and whoever had it was killed as it said so."""

EXPECTED: Final = {
    Step.BEFORE_CLAIM: Expected(_COMPLETED, _ONCE, frozenset({OK})),
    Step.AFTER_CLAIM: Expected(_INTERRUPTED, _NEVER, _LOST),
    Step.BEFORE_CALL: Expected(_INTERRUPTED, _NEVER, _LOST),
    Step.AFTER_FIRST_CHUNK: Expected(_INTERRUPTED, _ONCE, _LOST),
    Step.AFTER_LAST_CHUNK: Expected(_INTERRUPTED, _ONCE, _LOST),
    Step.AFTER_OUTCOME: Expected(_COMPLETED, _ONCE, _LOST),
    Step.AFTER_PUBLISHED: Expected(_COMPLETED, _ONCE, frozenset({OK})),
    Step.BEFORE_ACK: Expected(_COMPLETED, _ONCE, frozenset({OK})),
}


async def kill_at_each(steps: Sequence[Step], at: Grounds, tally: Tally, *, times: int, callers: int) -> None:
    """Ask on until every step has had its kills. Runs that no mortal worker gets just end."""
    users = [await an_owner(at.house), await a_payer(at.house)]
    numbers, asked = count(), dict[Fuse, Asked]()

    async def ask_on() -> None:
        while step := _next_step(steps, at, tally, times):
            fuse = Fuse(Act.KILL, step, f"#k{next(numbers)}")
            user = tally.rng.choice(users)
            asked[fuse] = await user.ask(_prompt(fuse, tally), stream=_is_stream(step, tally))

    async with asyncio.timeout(_LASTS_S), asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(ask_on())
    tally.asked += asked.values()
    killed = {fuse: run for fuse, run in asked.items() if at.fuses.is_burnt(fuse)}
    tally.kills += len(killed)
    await all_is_over(at.house)
    await check_ends(at, killed)


async def check_ends(
    at: Grounds, ended: Mapping[Fuse, Asked], expected: Mapping[Step, Expected] = EXPECTED
) -> None:
    """Each ended as a run must that was killed at its step; few had come too late for that."""
    calls = at.house.calls().by_prompt
    rows = await at.house.rows("SELECT run_id::text, outcome FROM inference.attempts")
    outcomes, late = {row["run_id"]: row["outcome"] for row in rows}, 0
    for fuse, run in ended.items():
        found = (outcomes[run.run_id], calls.get(run.prompt, 0), run.code)
        late += _LATE.fits(*found)
        assert expected[fuse.step].fits(*found) or _LATE.fits(*found), f"{fuse}: {found}, run {run.run_id}"
    assert late <= len(ended) / 4, f"{late} of {len(ended)} were too late"


def _next_step(steps: Sequence[Step], at: Grounds, tally: Tally, times: int) -> Step | None:
    burnt = at.fuses.burnt()
    wanting = [step for step in steps if burnt[f"{Act.KILL} {step}"] < times]
    return tally.rng.choice(wanting) if wanting else None


def _is_stream(step: Step, tally: Tally) -> bool:
    return step is Step.AFTER_FIRST_CHUNK or tally.rng.random() < 0.5


def _prompt(fuse: Fuse, tally: Tally) -> str:
    pace = f"latency_ms={tally.rng.randrange(150)} chunk_ms={tally.rng.randrange(30)}"
    return f"{fuse} [simulate {pace} chunks=4 tokens=20,30] at each step"
