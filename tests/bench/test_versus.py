"""Latchkey beside other gateways and none, all before the same upstream; writes BENCHMARKS.md, holds no time.

In the environment: `INFERENCE`, workers; `SLICE_S`, seconds of one measurement; `ROUNDS`, how often.
"""

import os
import sys
from typing import Final

import pytest

from infra.local.home import CHECKOUT
from tests.bench.versus import gateway, peers
from tests.bench.versus.bare import bare
from tests.bench.versus.figures import Cell, Figures
from tests.bench.versus.gateway import Opening
from tests.bench.versus.installing import WORK, install
from tests.bench.versus.latchkey import latchkey
from tests.bench.versus.machine import facts
from tests.bench.versus.measuring import Plan, bench
from tests.bench.versus.page import put, section

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]

WORKERS: Final = int(os.environ.get("INFERENCE", "1"))
PLAN: Final = Plan(
    seconds=float(os.environ.get("SLICE_S", str(Plan.seconds))),
    rounds=int(os.environ.get("ROUNDS", str(Plan.rounds))),
)
GATEWAYS: Final[dict[str, Opening]] = {
    gateway.DIRECT: peers.direct,
    gateway.LATCHKEY: latchkey(WORKERS),
    gateway.BARE: bare,
    gateway.LITELLM: peers.litellm(workers=1),
    gateway.LITELLM_2: peers.litellm(workers=2),
    gateway.PORTKEY: peers.portkey,
}


async def test_versus() -> None:
    await install()
    measured_on = await facts()
    results: dict[Cell, Figures] = {}
    async with bench(PLAN, WORK) as running:
        for name, opening in GATEWAYS.items():
            sys.stdout.write(f"\nmeasuring {name}\n")
            results |= await running.measure(name, opening)
    told = section(results, measured_on, PLAN, WORKERS)
    sys.stdout.write(f"\n{told}\n")
    put(CHECKOUT / "BENCHMARKS.md", told)
    assert all(one.runs for one in results.values()), "a gateway never answered rightly"
