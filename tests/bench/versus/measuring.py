"""The rounds: each gateway alone, warmed up, then all its cells in turn, several times."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from tests.bench.cpu import cpu_of, spent_between
from tests.bench.versus.figures import Cell, Figures, Round, figures_of
from tests.bench.versus.gateway import Gateway, Opening, until_ready
from tests.bench.versus.load import Order, Taken
from tests.bench.versus.process import running
from tests.bench.versus.wire import Kind
from tests.gate import free_port
from tests.processes import clean_environment

CLIENTS: Final = (1, 16, 64)
_SHAPES: Final = tuple((kind, clients) for kind in Kind for clients in CLIENTS)
_SETTLE_S: Final = 0.5
"""What is still being written when the last answer is there belongs to these runs."""
_LINE_MAX: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Plan:
    """How long each measurement takes, how often each cell has its turn, how long a gateway is warmed up."""

    seconds: float = 2.5
    rounds: int = 3
    warm_up_s: float = 5


@dataclass(frozen=True)
class Bench:
    """The two processes that every gateway shares the machine with."""

    plan: Plan
    loader: Process
    upstream: Process
    upstream_url: str

    async def measure(self, name: str, opening: Opening) -> dict[Cell, Figures]:
        """Start a gateway, measure all its cells, end it."""
        async with opening(self.upstream_url) as gateway:
            await until_ready(gateway)
            for kind in Kind:
                await self._load(gateway, kind, 16, self.plan.warm_up_s / len(Kind))
            rounds = [await self._round(gateway) for _ in range(self.plan.rounds)]
        turns = zip(_SHAPES, zip(*rounds, strict=True), strict=True)
        return {Cell(name, *shape): figures_of(turn) for shape, turn in turns}

    async def _round(self, gateway: Gateway) -> list[Round]:
        return [await self._turn(gateway, kind, clients) for kind, clients in _SHAPES]

    async def _turn(self, gateway: Gateway, kind: Kind, clients: int) -> Round:
        before = cpu_of(self._pids(gateway))
        taken = await self._load(gateway, kind, clients, self.plan.seconds)
        await asyncio.sleep(_SETTLE_S)
        return Round(taken, spent_between(before, cpu_of(self._pids(gateway))))

    async def _load(self, gateway: Gateway, kind: Kind, clients: int, seconds: float) -> Taken:
        order = Order(gateway.url, dict(gateway.head), gateway.model, kind, clients, seconds)
        assert self.loader.stdin is not None
        assert self.loader.stdout is not None
        self.loader.stdin.write(orjson.dumps(asdict(order)) + b"\n")
        return Taken(**orjson.loads(await self.loader.stdout.readline()))

    def _pids(self, gateway: Gateway) -> list[tuple[str, int]]:
        return [("load", self.loader.pid), ("upstream", self.upstream.pid), *gateway.pids()]


@asynccontextmanager
async def bench(plan: Plan, folder: Path) -> AsyncIterator[Bench]:
    """The load generator and the upstream, running."""
    port = free_port()
    serve = (sys.executable, "-m", "tests.bench.versus.upstream", str(port))
    async with running(serve, folder / "upstream.log", {}) as upstream, _loader() as loader:
        yield Bench(plan, loader, upstream, f"http://127.0.0.1:{port}")


@asynccontextmanager
async def _loader() -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "tests.bench.versus.load")
    process = await asyncio.create_subprocess_exec(
        *command, env=clean_environment(), stdin=PIPE, stdout=PIPE, limit=_LINE_MAX
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()
