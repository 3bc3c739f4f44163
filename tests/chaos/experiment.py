"""One experiment: its seed said at its start, the quiet check at its end, and one line of figures."""

import os
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.grounds import Grounds
from tests.chaos.users import Asked
from tests.chaos.witness import check_runs
from tests.quiet import quiet_check

_SEED: Final = "SEED"
_COUNTS: Final = """
    SELECT (SELECT count(*) FROM inference.attempts) AS attempts,
           (SELECT count(*) FROM billing.transfers WHERE cause = 'usage' AND kind = 'charge') AS charges
"""


@dataclass
class Tally:
    """`rng` decides what chance decides; what the machine's speed decides, no seed can repeat."""

    rng: random.Random
    kills: int = 0
    asked: list[Asked] = field(default_factory=list)


def seed() -> int:
    """The one given (`make chaos SEED=…`), else a new one."""
    return int(os.environ.get(_SEED) or secrets.randbelow(2**32))


@asynccontextmanager
async def experiment(name: str, at: Grounds) -> AsyncIterator[Tally]:
    """Checks all runs and the house's quiet at the end."""
    chosen = seed()
    print(f"\n{name}: SEED={chosen}", flush=True)  # noqa: T201 - what `make chaos` shows
    tally, began = Tally(random.Random(chosen)), time.monotonic()
    before = await _counts(at)
    yield tally
    await check_runs(at.house, tally.asked)
    await quiet_check(at.house.realm)
    after = await _counts(at)
    attempts, charges = (after[each] - before[each] for each in ("attempts", "charges"))
    print(  # noqa: T201
        f"{name}: seed {chosen}, {tally.kills} kills, {len(tally.asked)} runs, {attempts} attempts, "
        f"{charges} charges, {time.monotonic() - began:.0f} s",
        flush=True,
    )


async def _counts(at: Grounds) -> dict[str, int]:
    [row] = await at.house.rows(_COUNTS)
    return dict(row)
