"""RabbitMQ is killed or short of disk, and Postgres restarted, under load."""

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Final

from infra.local.install import rabbitmq_server
from infra.local.ports import ports
from infra.local.servers import NODE, rabbitmq_environment
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


async def starve_rabbitmq(at: Grounds, tally: Tally, *, lengths_s: Sequence[float], callers: int) -> None:
    """It believes that its disk is full for so long each time, and reads from nobody who publishes."""
    async with under_load(at, tally, callers=callers) as load:
        for length_s in tally.rng.sample(lengths_s, len(lengths_s)):
            await asyncio.sleep(tally.rng.uniform(0.2, 2))
            await _ctl(at, "set_disk_free_limit", "mem_relative", "1000")
            await asyncio.sleep(length_s)
            await _ctl(at, "set_disk_free_limit", "50MB")
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


async def _ctl(at: Grounds, *command: str) -> None:
    data = at.home / "rabbitmq"
    env = rabbitmq_environment(data, NODE, ports(at.home, running=True))
    script = rabbitmq_server(print).with_name("rabbitmqctl")
    process = await asyncio.create_subprocess_exec(
        *(str(script), "--quiet", "-n", NODE, *command), env={"PATH": os.environ["PATH"], **env}
    )
    assert await process.wait() == 0, command
