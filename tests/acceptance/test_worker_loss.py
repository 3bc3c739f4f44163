"""One of two workers is killed amid platform runs: every run ends once, and the money adds up."""

import asyncio
from collections import Counter
from typing import Any, Final

import httpx2
import pytest

from tests.acceptance.callers import Caller
from tests.acceptance.house import House, eventually

pytestmark = pytest.mark.acceptance

RUNS: Final = 50
GRANT: Final = 5_000_000
ENDS: Final = {
    200: {"completed"},
    502: {"interrupted", "completed"},
    503: {"interrupted", "expired", "cancelled"},
}
"""502: its worker was lost, now and then after the end was written down and before the client was told. 503:
the run had not begun when its worker was lost, and its client waited for the beginning in vain.
"""


def prompt(number: int) -> str:
    return f"[simulate latency_ms={800 + 20 * number} tokens=20,30] lost and found {number:04}"


async def test_kill_9_of_one_of_two_workers_amid_50_platform_runs(house: House) -> None:
    caller = await house.caller("steady")
    await house.grant(caller, GRANT)
    at_once = [
        asyncio.create_task(caller.ask(prompt(number), flow="deep_analysis", max_tokens=50))
        for number in range(RUNS)
    ]

    async def is_amid() -> bool:
        return house.calls().in_flight >= RUNS // 2

    await eventually(is_amid, "the runs are under way")
    await house.parts[house.workers[0]].kill()
    answers = await asyncio.gather(*at_once)

    told = Counter(answer.status_code for answer in answers)
    assert {200, 502} <= set(told) <= set(ENDS), told
    receipts = await _final_receipts(house, caller, answers)
    _check_final_states(answers, receipts)
    _check_calls(house)
    charged = sum(int(attempt["charged_micros"]) for receipt in receipts for attempt in receipt["attempts"])
    assert charged > 0
    await house.check_ledger(caller, GRANT - charged)
    for unended in (
        "SELECT 1 FROM billing.holds WHERE user_id = $1 AND state = 'held'",
        "SELECT 1 FROM inference.attempts WHERE user_id = $1 AND outcome IS NULL",
    ):
        assert await house.rows(unended, caller.user_id) == []


async def _final_receipts(
    house: House, caller: Caller, answers: list[httpx2.Response]
) -> list[dict[str, Any]]:
    run_ids = [answer.headers["latchkey-run-id"] for answer in answers]
    assert len(set(run_ids)) == RUNS
    return await asyncio.gather(*(house.receipt(caller, run_id) for run_id in run_ids))


def _check_final_states(answers: list[httpx2.Response], receipts: list[dict[str, Any]]) -> None:
    for answer, receipt in zip(answers, receipts, strict=True):
        [attempt] = receipt["attempts"]
        assert attempt["outcome"] in ENDS[answer.status_code], (answer.text, attempt)
        if answer.status_code == 502:
            assert answer.json()["error"]["code"] == "worker_lost"


def _check_calls(house: House) -> None:
    calls = house.calls().by_prompt
    assert [number for number in range(RUNS) if calls.get(prompt(number), 0) > 1] == []
