"""What a usage event says an attempt cost: the charge of the platform's, and told of everybody's own."""

import time
from collections.abc import Awaitable
from statistics import median
from typing import Any, Final

import orjson
import pytest

from tests.acceptance.callers import Caller
from tests.acceptance.house import House

pytestmark = pytest.mark.acceptance

OWN_KEY: Final = "canary-sim-costs-000111222333"
RUNS: Final = 10


async def told(house: House, caller: Caller, run_id: str) -> list[tuple[dict[str, Any], int, int]]:
    """A run's usage events as the workers published them, each with what billing made of it."""
    await house.receipt(caller, run_id)
    rows = await house.rows(
        "SELECT a.usage, u.cost_micros, u.charged_micros"
        " FROM inference.attempts a JOIN billing.usage u USING (usage_id)"
        " WHERE a.run_id = $1::uuid ORDER BY a.attempt",
        run_id,
    )
    return [(orjson.loads(row["usage"]), row["cost_micros"], row["charged_micros"]) for row in rows]


async def ran(asking: Awaitable[Any]) -> str:
    answer = await asking
    assert answer.status_code == 200, answer.text
    return str(answer.headers["latchkey-run-id"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_platform_runs_event_says_what_was_charged(house: House, *, stream: bool) -> None:
    caller = await house.caller("spender")
    await house.grant(caller, 1_000_000_000)
    prompts = ["hello", "[simulate tokens=700,50]", "[simulate tokens=900,7 cache=400,300]"]

    for prompt in prompts:
        run_id = await ran(caller.ask(prompt, flow="deep_analysis", max_tokens=50, stream=stream))

        [(event, cost_micros, charged_micros)] = await told(house, caller, run_id)
        assert event["cost_micros"] == cost_micros == charged_micros > 0
        assert event["price_version"]
        assert event["provider_request_id"].startswith("req_")


async def test_who_wants_a_platform_run_to_end_sooner_pays_for_the_call(house: House) -> None:
    """As who cancels it does: `Latchkey-Timeout` is no way to call the provider for nothing."""
    caller = await house.caller("hasty")
    await house.grant(caller, 1_000_000_000)
    caller.http.headers["Latchkey-Timeout"] = "1.5"

    answer = await caller.ask("[simulate latency_ms=4000] " + "word " * 1000, flow="deep_analysis")

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "provider_timeout")
    [(event, cost_micros, charged_micros)] = await told(house, caller, answer.headers["latchkey-run-id"])
    assert event["tokens"]["source"] == "estimated"
    assert event["cost_micros"] == cost_micros == charged_micros > 0


async def test_an_own_keys_event_says_its_cost_and_nobody_is_charged(house: House) -> None:
    caller = await house.caller("owner")
    await caller.store_key(OWN_KEY)

    run_id = await ran(caller.ask("[simulate tokens=700,50 latency_ms=300]"))

    [(event, cost_micros, charged_micros)] = await told(house, caller, run_id)
    assert event["cost_micros"] == cost_micros > 0
    assert charged_micros == 0


async def test_without_billing_runs_on_ones_own_key_are_neither_refused_nor_slower(house: House) -> None:
    caller = await house.caller("owner")
    await caller.store_key(OWN_KEY)

    async def took_s(model: str) -> float:
        took = []
        for _ in range(RUNS):
            began = time.perf_counter()
            await ran(caller.ask("hello", model=model))
            took.append(time.perf_counter() - began)
        return median(took)

    await took_s("openai/gpt-4o-mini")
    usual_s = await took_s("openai/gpt-4o-mini")
    await house.parts["billing"].stop()
    without_s = await took_s("openai/gpt-4.1-mini")  # whose price nobody has been asked

    assert without_s < 2 * usual_s + 0.1
