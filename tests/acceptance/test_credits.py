"""Many runs at once on one balance: as many go through as it covers, and never one more."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx2
import pytest

from services.inference.domain.estimates import prompt_size
from tests.acceptance.callers import MODEL, Caller, error_of
from tests.acceptance.house import House

pytestmark = pytest.mark.acceptance

RUNS: Final = 200
COVERED: Final = 50
COMPLETION: Final = 40


def prompt(number: int) -> str:
    """A prompt whose answer is reported to use just what is held for it, so that a charge equals its hold."""
    tokens = 0
    while True:
        text = f"[simulate tokens={tokens},{COMPLETION}] request {number:04}"
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": COMPLETION}
        if (held := prompt_size(body).tokens_max(MODEL)) == tokens:
            return text
        tokens = held


async def paid_run(caller: Caller, number: int) -> Any:
    return await begun(lambda: caller.ask(prompt(number), flow="deep_analysis", max_tokens=COMPLETION))


async def begun(ask: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
    """Ask again what a slow machine did not begin in time: that cost nothing, and called nobody."""
    answer = await ask()
    for _ in range(5):
        if answer.status_code != 503:
            break
        answer = await ask()
    return answer


async def charge_of_one(house: House) -> int:
    caller = await house.caller("probe")
    await house.grant(caller, 1_000_000)
    answer = await paid_run(caller, 9999)
    receipt = await house.receipt(caller, answer.headers["latchkey-run-id"])
    charged = int(receipt["attempts"][0]["charged_micros"])
    [hold] = await house.rows(
        "SELECT amount_micros, state FROM billing.holds WHERE user_id = $1", caller.user_id
    )
    assert (hold["amount_micros"], hold["state"]) == (charged, "settled")
    return charged


async def test_200_platform_runs_at_once_on_a_balance_for_50(house: House) -> None:
    charge = await charge_of_one(house)
    caller = await house.caller("spender")
    await house.grant(caller, COVERED * charge)
    seen: list[int] = []

    async def watch() -> None:
        while True:
            seen.append(await caller.balance_micros())
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    answers = await asyncio.gather(*(paid_run(caller, number) for number in range(RUNS)))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert Counter(answer.status_code for answer in answers) == {200: COVERED, 402: RUNS - COVERED}
    refused = {error_of(answer) for answer in answers if answer.status_code == 402}
    assert refused == {(402, "insufficient_credits")}

    await house.check_ledger(caller, 0)
    assert (await caller.get("/api/credits"))["receivable_micros"] == 0
    assert seen
    assert min(seen) >= 0


async def test_200_byok_runs_at_once_without_any_credits(house: House) -> None:
    caller = await house.caller("owner")
    key = "sk-sim-owner-5b0e6f7a8c9d"
    await caller.store_key(key)
    before = house.calls().with_key(key)

    async def own(number: int) -> httpx2.Response:
        return await begun(lambda: caller.ask(f"own {number}", model=MODEL))

    answers = await asyncio.gather(*(own(number) for number in range(RUNS)))

    assert Counter(answer.status_code for answer in answers) == {200: RUNS}
    assert {answer.headers["latchkey-key-source"] for answer in answers} == {"user"}
    assert house.calls().with_key(key) - before == RUNS
    held = "SELECT 1 FROM billing.holds WHERE user_id = $1 AND amount_micros > 0"
    assert await house.rows(held, caller.user_id) == []
