"""Callers that never stop asking, with a key of their own and on credits, plain and streamed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from tests.acceptance.house import eventually
from tests.chaos.experiment import Tally
from tests.chaos.grounds import Grounds
from tests.chaos.users import OK, User, a_payer, an_owner

_READY_S: Final = 90.0
_PAUSE_S: Final = 0.2
"""After a refusal."""


class Load:
    """What runs meanwhile."""

    def __init__(self, at: Grounds, tally: Tally) -> None:
        self._at = at
        self._tally = tally
        self._name = f"{tally.rng.getrandbits(32):08x}"
        self._numbers = count()
        self._is_over = False

    @property
    def served(self) -> int:
        return sum(run.code == OK for run in self._tally.asked)

    async def until_served(self) -> None:
        """Wait until the house is whole again and serves runs asked for after that."""
        await eventually(self._at.house.is_ready, "the house is ready", timeout_s=_READY_S)
        served = self.served

        async def serves() -> bool:
            return self.served > served + 4

        await eventually(serves, "runs go through again", timeout_s=_READY_S)

    def end(self) -> None:
        self._is_over = True

    async def ask_on(self, user: User) -> None:
        rng = self._tally.rng
        while not self._is_over:
            pace = f"latency_ms={rng.randrange(300)} chunks=4 chunk_ms={rng.randrange(40)}"
            tokens = f"tokens={rng.randrange(9, 30)},{rng.randrange(1, 50)}"
            prompt = f"[simulate {pace} {tokens}] {self._name} {next(self._numbers)}"
            asked = await user.ask(prompt, stream=rng.random() < 0.5)
            self._tally.asked.append(asked)
            await asyncio.sleep(0 if asked.code == OK else _PAUSE_S)


@asynccontextmanager
async def under_load(at: Grounds, tally: Tally, *, callers: int) -> AsyncIterator[Load]:
    """Half of the callers pay; at the end, who still waits gets an answer."""
    users = [await an_owner(at.house), await a_payer(at.house)]
    load = Load(at, tally)
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(load.ask_on(users[number % 2]))
        await load.until_served()
        yield load
        load.end()
