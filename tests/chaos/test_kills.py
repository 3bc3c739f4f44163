"""Servers and workers are killed (kill -9) under load, again and again; in the end everything adds up."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from infra.local.home import Home
from infra.local.ports import ports
from infra.local.servers import servers
from tests.acceptance.callers import Caller
from tests.acceptance.house import House, eventually, running_house
from tests.native import native_home
from tests.realm import temporary_realm

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(580)]

LASTS_S: Final = 120.0
CALLERS: Final = 12
GRANT: Final = 1_000_000_000
ANSWER_S: Final = 60.0
"""Beyond every deadline that a run can meet: nobody may wait longer."""
UNFINISHED: Final = {
    "attempts": "SELECT run_id FROM inference.attempts WHERE outcome IS NULL",
    "unbilled": "SELECT usage_id FROM inference.attempts EXCEPT SELECT usage_id FROM billing.usage",
    "held": "SELECT run_id FROM billing.holds WHERE state = 'held'",
    "unsaid": "SELECT event_id FROM billing.outbox",
}
VICTIMS: Final = ("rabbitmq", "postgres", "vault", "worker", "billing", "key_vault")


@pytest_asyncio.fixture
async def home() -> AsyncIterator[Home]:
    async with native_home() as running:
        yield running


@pytest_asyncio.fixture
async def chaos_house(home: Home, tmp_path: Path) -> AsyncIterator[House]:
    native = servers(home, ports(home, running=True))
    async with (
        temporary_realm(native, tmp_path) as realm,
        running_house(realm, tmp_path, gated=False) as house,
    ):
        yield house


class Load:
    """Callers that never stop asking; half with their own key, half on credits."""

    def __init__(self, house: House, until: float) -> None:
        self.house = house
        self.until = until
        self.asked: Counter[str] = Counter()
        self.answered: dict[str, int] = {}
        self.statuses: Counter[str] = Counter()

    async def ask_on(self, caller: Caller, flow: str) -> None:
        while time.monotonic() < self.until:
            number = self.asked.total()
            prompt = f"[simulate latency_ms={random.randrange(400)} tokens=20,30] chaos {number}"
            self.asked[prompt] += 1
            await self._ask(caller, prompt, flow)

    async def _ask(self, caller: Caller, prompt: str, flow: str) -> None:
        start = time.monotonic()
        answer = await caller.ask(prompt, flow=flow, max_tokens=50)
        assert time.monotonic() - start < ANSWER_S, f"{answer.status_code} after too long: {answer.text}"
        code = "ok" if answer.is_success else answer.json()["error"]["code"]
        self.statuses[code] += 1
        if answer.is_success:
            self.answered[answer.headers["latchkey-run-id"]] = answer.status_code
        else:
            assert code != "internal_error", answer.text
            await asyncio.sleep(0.2)


async def test_kills_under_load(home: Home, chaos_house: House) -> None:
    house = chaos_house
    owner, payer = await house.caller("owner"), await house.caller("payer")
    await owner.store_key("sk-sim-chaos-00112233445566")
    await house.grant(payer, GRANT)
    load = Load(house, time.monotonic() + LASTS_S)
    users = [(owner, "chat"), (payer, "deep_analysis")] * (CALLERS // 2)

    async with kept_up(house):
        await asyncio.gather(
            *(load.ask_on(caller, flow) for caller, flow in users), kill_on(home, house, load.until)
        )
        await eventually(house.is_ready, "the house is ready", timeout_s=90)
        await check_everything(house, load, payer)


@asynccontextmanager
async def kept_up(house: House) -> AsyncIterator[None]:
    """What a process manager does: start again what has ended."""

    async def keep_up() -> None:
        while True:
            await asyncio.gather(*(part.start() for part in house.parts.values() if not part.is_running))
            await asyncio.sleep(0.5)

    keeping = asyncio.create_task(keep_up())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def kill_on(home: Home, house: House, until: float) -> None:
    for victim in random.choices(VICTIMS, k=1000):
        await asyncio.sleep(random.uniform(3, 9))
        if time.monotonic() > until:
            return
        if victim in {"rabbitmq", "postgres", "vault"}:
            os.kill(int(home.pid_file(victim).read_text()), signal.SIGKILL)
        else:
            await house.parts[random.choice(house.workers) if victim == "worker" else victim].kill()


async def check_everything(house: House, load: Load, payer: Caller) -> None:
    """Every run ended once, no provider call was made twice, and the money adds up."""

    left: dict[str, list[str]] = {}

    async def is_over() -> bool:
        left.update(
            {what: [str(row[0]) for row in await house.rows(rows)] for what, rows in UNFINISHED.items()}
        )
        return not any(left.values())

    try:
        await eventually(is_over, "every attempt has ended and is billed", timeout_s=90)
    except AssertionError as error:
        raise AssertionError(f"{error}; {left}") from None
    calls = house.calls().by_prompt
    assert [prompt for prompt, count in calls.items() if count > 1] == []
    completed = await house.rows("SELECT run_id::text FROM inference.attempts WHERE outcome = 'completed'")
    assert set(load.answered) <= {row["run_id"] for row in completed}, "an answered run is not on record"
    [paid] = await house.rows("SELECT coalesce(sum(charged_micros), 0) AS micros FROM billing.usage")
    await house.check_ledger(payer, GRANT - int(paid["micros"]))
    assert load.statuses["ok"] > 50, load.statuses
