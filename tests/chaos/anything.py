"""kill -9 of whatever chance picks, again and again: servers, workers, billing, key_vault."""

import asyncio
import signal
import time
from typing import Final

from shared.kernel.names import BILLING, KEY_VAULT
from tests.acceptance.house import POSTGRES, RABBITMQ, VAULT
from tests.chaos.experiment import Tally
from tests.chaos.grounds import Grounds
from tests.chaos.load import under_load

_WORKER: Final = "worker"
_VICTIMS: Final = (RABBITMQ, POSTGRES, VAULT, _WORKER, BILLING, KEY_VAULT)


async def kill_anything(at: Grounds, tally: Tally, *, lasts_s: float, callers: int) -> None:
    """Nobody waits for anybody to come back: several may be away at once."""
    until = time.monotonic() + lasts_s
    async with under_load(at, tally, callers=callers) as load:
        while time.monotonic() < until:
            await asyncio.sleep(tally.rng.uniform(3, 9))
            await _kill(at, tally, tally.rng.choice(_VICTIMS))
            tally.kills += 1
        await load.until_served()


async def _kill(at: Grounds, tally: Tally, victim: str) -> None:
    if victim in {RABBITMQ, POSTGRES, VAULT}:
        at.signal_server(victim, signal.SIGKILL)
    else:
        await at.house.parts[tally.rng.choice(at.house.workers) if victim == _WORKER else victim].kill()
