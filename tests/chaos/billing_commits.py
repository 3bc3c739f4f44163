"""kill -9 of billing between commit and acknowledgement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from tests.acceptance.house import eventually
from tests.chaos.experiment import Tally
from tests.chaos.grounds import Grounds
from tests.chaos.mortal_billing import ARMED, COMMITTED
from tests.chaos.users import a_payer, an_owner
from tests.chaos.witness import all_is_over

_LASTS_S: Final = 480
_READY_S: Final = 60.0


async def kill_between_commit_and_ack(at: Grounds, tally: Tally, *, times: int, at_once: int) -> None:
    """Waves of runs: each billing dies of its first batch with something new. Between them all come back,
    so that no event is handed out as often as would dead-letter it.
    """
    users, numbers = [await an_owner(at.house), await a_payer(at.house)], count()
    async with asyncio.timeout(_LASTS_S), _armed(at):
        while at.fuses.burnt()[COMMITTED] < times:
            prompts = (f"[simulate latency_ms=300 tokens=20,30] wave {next(numbers)}" for _ in range(at_once))
            asking = (users[n % 2].ask(prompt, stream=n % 4 > 1) for n, prompt in enumerate(prompts))
            tally.asked += await asyncio.gather(*asking)
            await all_is_over(at.house)
            await eventually(at.house.is_ready, "billing is back", timeout_s=_READY_S)
    tally.kills += at.fuses.burnt()[COMMITTED]


@asynccontextmanager
async def _armed(at: Grounds) -> AsyncIterator[None]:
    at.fuses.burn(ARMED)
    try:
        yield
    finally:
        at.fuses.put_out(ARMED)
