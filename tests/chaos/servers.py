"""RabbitMQ is killed and Postgres restarted under load."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Final

from tests.acceptance.house import eventually
from tests.chaos.experiment import Tally
from tests.chaos.grounds import Grounds
from tests.chaos.load import under_load

_SMART_S: Final = 3.0
"""How long Postgres may wait for its sessions: ours never end by themselves."""
_GONE_S: Final = 30.0
SMART, FAST, IMMEDIATE = SHUTDOWNS = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


async def kill_rabbitmq(at: Grounds, tally: Tally, *, times: int, callers: int) -> None:
    async with under_load(at, tally, callers=callers) as load:
        for _ in range(times):
            await asyncio.sleep(tally.rng.uniform(0.2, 2))
            await _end(at, "rabbitmq", signal.SIGKILL)
            tally.kills += 1
            await load.until_served()


async def restart_postgres(
    at: Grounds, tally: Tally, *, modes: Sequence[signal.Signals], callers: int
) -> None:
    """Smart, fast and immediate shutdowns, as Postgres calls them; then it is started again."""
    async with under_load(at, tally, callers=callers) as load:
        for mode in tally.rng.sample(modes, len(modes)):
            await asyncio.sleep(tally.rng.uniform(0.2, 2))
            if mode is SMART:
                at.signal_server("postgres", SMART)
                await asyncio.sleep(_SMART_S)
            await _end(at, "postgres", FAST if mode is SMART else mode)
            tally.kills += 1
            await load.until_served()


async def _end(at: Grounds, server: str, number: signal.Signals) -> None:
    """Signal it, and wait until its process manager has started another."""
    pid = at.server_pid(server)
    at.signal_server(server, number)

    async def is_another() -> bool:
        return at.server_pid(server) not in {None, pid}

    await eventually(is_another, f"{server} is another", timeout_s=_GONE_S)
