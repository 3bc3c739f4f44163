"""One account, runs on it from several edges, and workers that die meanwhile: it is never overdrawn."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

import asyncpg

from tests.chaos.experiment import Tally
from tests.chaos.grounds import Grounds
from tests.chaos.users import OK, PAID, User, a_payer

_LOOK_S: Final = 0.02
_HOLDS: Final = 6
"""So many runs at once are covered by a grant, about."""
_HOLD_MICROS: Final = 3_500
_AVAILABLE: Final = """
    SELECT posted_micros - held_micros FROM billing.accounts WHERE user_id = $1 AND kind = 'user'
"""
_SUMS: Final = """
    SELECT coalesce(sum(cost_micros) FILTER (WHERE charged_micros > 0), 0) AS cost,
           coalesce(sum(charged_micros), 0) AS charged, coalesce(sum(receivable_micros), 0) AS receivable,
           (SELECT sum(amount_micros) FROM billing.transfers WHERE user_id = $1 AND kind = 'charge') AS paid
    FROM billing.usage WHERE user_id = $1
"""


async def spend_at_once(at: Grounds, tally: Tally, *, lasts_s: float, callers: int) -> None:
    """More runs than the account covers, given to now and then; a worker is killed every few seconds."""
    payer = await a_payer(at.house, _HOLDS * _HOLD_MICROS)
    user_id, until = payer.caller.user_id, time.monotonic() + lasts_s
    users = [User(await at.house.caller_at(url, user_id), PAID) for url in at.house.urls]
    granted, numbers = [_HOLDS * _HOLD_MICROS], count()

    async def ask_on(user: User) -> None:
        while time.monotonic() < until:
            pace = f"latency_ms={tally.rng.randrange(500)}"
            prompt = f"[simulate {pace} tokens=20,{tally.rng.randrange(1, 50)}] hot {next(numbers)}"
            tally.asked.append(await user.ask(prompt, stream=tally.rng.random() < 0.5))

    async def give_on() -> None:
        while time.monotonic() < until:
            await asyncio.sleep(tally.rng.uniform(0.5, 2))
            granted.append(tally.rng.randrange(1, _HOLDS * _HOLD_MICROS))
            await at.house.grant(payer.caller, granted[-1])

    async def kill_on() -> None:
        while time.monotonic() < until:
            await asyncio.sleep(tally.rng.uniform(2, 4))
            await at.house.parts[tally.rng.choice(at.house.workers)].kill()
            tally.kills += 1

    async with _watched(at, user_id) as looks:
        asking = (ask_on(users[number % len(users)]) for number in range(callers))
        await asyncio.gather(give_on(), kill_on(), *asking)
    assert len(looks) > lasts_s / _LOOK_S / 10
    assert min(looks) >= 0
    codes = {run.code for run in tally.asked}
    assert {OK, "insufficient_credits"} <= codes, codes
    await at.house.check_ledger(payer.caller, sum(granted) - await _paid(at, user_id))


async def _paid(at: Grounds, user_id: str) -> int:
    """Return what was charged in all: what its runs cost, all of it covered by their holds."""
    [sums] = await at.house.rows(_SUMS, user_id)
    assert sums["cost"] == sums["charged"] == sums["paid"]
    assert sums["receivable"] == 0
    return int(sums["paid"])


@asynccontextmanager
async def _watched(at: Grounds, user_id: str) -> AsyncIterator[list[int]]:
    """What was available of an account, at every look."""
    looks: list[int] = []
    connection = await asyncpg.connect(at.house.realm.admin["LATCHKEY_POSTGRES_URL"])

    async def look_on() -> None:
        while True:
            looks.append(await connection.fetchval(_AVAILABLE, user_id))
            await asyncio.sleep(_LOOK_S)

    looking = asyncio.create_task(look_on())
    try:
        yield looks
        assert not looking.done()
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await connection.close()
