"""Where experiments take place: a house of its own for each, whose parts are started again when they end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from infra.local.home import Home
from infra.local.ports import ports
from infra.local.servers import servers
from shared.kernel.names import API_EDGE, BILLING, INFERENCE
from tests.acceptance.house import House, replicas, running_house
from tests.chaos import mortal_billing, mortal_worker
from tests.chaos.fuses import FOLDER, Fuses
from tests.cluster import Cluster
from tests.gate import Gate, open_gate
from tests.nursery import Nursery
from tests.realm import temporary_realm

START_S: Final = 20.0
"""How long a run may wait for a worker: here they are often away."""
_LOOK_S: Final = 0.1


@dataclass(frozen=True)
class Grounds:
    """`mortal`: the workers that end where a prompt says so, each with one run in hand, so that no other is
    killed with it. `gates`: before RabbitMQ, for each of them alone.
    """

    home: Home
    house: House
    fuses: Fuses
    mortal: tuple[str, ...]
    gates: Mapping[str, Gate]

    def server_pid(self, server: str) -> int | None:
        """None while another is being started."""
        return int(self.home.pid_file(server).read_text() or 0) or None

    def signal_server(self, server: str, number: signal.Signals) -> None:
        if (pid := self.server_pid(server)) is not None:
            os.kill(pid, number)

    def is_frozen(self, part: str) -> bool:
        stat = Path(f"/proc/{self.house.parts[part].pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def thaw(self, part: str) -> None:
        os.kill(self.house.parts[part].pid, signal.SIGCONT)


@asynccontextmanager
async def open_grounds(
    home: Home,
    folder: Path,
    *,
    mortal: int = 0,
    steady: int = 0,
    edges: int = 1,
    billings: int = 1,
    mortal_billings: bool = False,
    gated: bool = False,
    cluster: Cluster | None = None,
    parents: Nursery | None = None,
) -> AsyncIterator[Grounds]:
    """A house in a realm of its own, on a broker or a cluster; whatever of it ends is started again."""
    fuses = folder / "fuses"
    fuses.mkdir()
    native = servers(home, ports(home, running=True))
    if cluster is not None:
        native = replace(native, amqp_url=cluster.amqp_url, management_url=cluster.management_url)
    workers = [f"{INFERENCE}-{number}" for number in range(1, mortal + steady + 1)]
    dying = workers[:mortal]
    async with AsyncExitStack() as stack:
        realm = await stack.enter_async_context(temporary_realm(native, folder))
        amqp_url = realm.env(INFERENCE)["LATCHKEY_AMQP_URL"]
        gates = {name: await stack.enter_async_context(open_gate(amqp_url)) for name in dying if gated}
        env = {
            **{key: {"LATCHKEY_START_TIMEOUT_S": str(START_S)} for key in replicas(API_EDGE, edges)},
            **{key: {FOLDER: str(fuses)} for key in replicas(BILLING, billings)},
        }
        for name in dying:
            at_gate = {"LATCHKEY_AMQP_URL": gates[name].before(amqp_url)} if gated else {}
            env[name] = {**at_gate, FOLDER: str(fuses), "LATCHKEY_CONCURRENCY": "1"}
        modules = dict.fromkeys(dying, mortal_worker.__name__)
        if mortal_billings:
            modules |= dict.fromkeys(replicas(BILLING, billings), mortal_billing.__name__)
        house = await stack.enter_async_context(
            running_house(
                realm,
                folder,
                workers=len(workers),
                edges=edges,
                billings=billings,
                gated=False,
                log_level="INFO",
                modules=modules,
                env=env,
                parents=parents,
            )
        )
        await stack.enter_async_context(kept_up(house))
        yield Grounds(home, house, Fuses(fuses), tuple(dying), gates)


@asynccontextmanager
async def kept_up(house: House) -> AsyncIterator[None]:
    """What a process manager does: start again what has ended."""

    async def keep_up() -> None:
        while True:
            await asyncio.gather(*(part.start() for part in house.parts.values() if not part.is_running))
            await asyncio.sleep(_LOOK_S)

    keeping = asyncio.create_task(keep_up())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
