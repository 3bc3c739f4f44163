"""Prices that administrators set: what the next run is held and charged, and a period rated again."""

import asyncio
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.callers import Caller, error_of
from tests.acceptance.commands import latchkey
from tests.acceptance.house import House, eventually

pytestmark = pytest.mark.acceptance

CHEAP = {"input_usd": "100", "output_usd": "200"}
DEAR = {"input_usd": "1000", "output_usd": "2000"}
ASK = "[simulate tokens=10,5]"
"""0.002 US$ and 200,000 micros at CHEAP, ten times that at DEAR."""
COST = 200_000
LIMIT = 50


def _new_model() -> str:
    return f"openai/house-{secrets.token_hex(4)}"


async def _set(house: House, model: str, price: dict[str, Any]) -> str:
    """Set a price over HTTP; return its version."""
    admin = await house.caller("admin", "admin")
    answer = await admin.http.put(f"/api/admin/prices/{model}", json=price)
    return str(answer.raise_for_status().json()["version"])


async def _paid(caller: Caller, model: str, prompt: str = ASK) -> str:
    """Run on the platform's key; return the run's id."""
    answer = await caller.ask(prompt, flow="deep_analysis", model=model, max_tokens=LIMIT)
    assert answer.status_code == 200, answer.text
    return answer.headers["latchkey-run-id"]


async def _charged(house: House, caller: Caller, run_id: str) -> tuple[int, str]:
    """What a run's receipt says: the charge and the version of its price."""
    [attempt] = (await house.receipt(caller, run_id))["attempts"]
    return attempt["charged_micros"], attempt["price_version"]


async def _spender(house: House) -> Caller:
    caller = await house.caller("spender")
    await house.grant(caller, 1_000_000_000)
    return caller


async def test_without_a_price_the_platforms_key_is_not_used_and_ones_own_is(house: House) -> None:
    caller, model = await _spender(house), _new_model()
    refused = await caller.ask(ASK, flow="deep_analysis", model=model)
    assert error_of(refused) == (422, "price_unknown")
    await caller.store_key("sk-sim-owner-1f9c8b7a6d5e")
    answer = await caller.ask(ASK, model=model)
    assert answer.status_code == 200
    receipt = await house.receipt(caller, answer.headers["latchkey-run-id"])
    assert [(each["cost_micros"], each["charged_micros"]) for each in receipt["attempts"]] == [(None, 0)]
    await house.check_ledger(caller, 1_000_000_000)


async def test_the_next_run_is_held_and_charged_by_the_new_price(house: House) -> None:
    caller, model = await _spender(house), _new_model()
    version = await _set(house, model, CHEAP)
    run_id = await _paid(caller, model)

    assert await _charged(house, caller, run_id) == (COST, version)
    [hold] = await house.rows(
        "SELECT amount_micros, quote #>> '{price,version}' AS version FROM billing.holds WHERE run_id = $1",
        run_id,
    )
    assert hold["version"] == version
    assert hold["amount_micros"] > LIMIT * 20_000
    [event] = await house.rows("SELECT event FROM billing.usage WHERE run_id = $1", run_id)
    told = json.loads(event["event"])
    assert (told["price_version"], told["cost_micros"]) == (version, COST)
    await house.check_ledger(caller, 1_000_000_000 - COST)

    later = await _set(house, model, DEAR)
    assert await _charged(house, caller, await _paid(caller, model)) == (10 * COST, later)


async def test_tokens_of_the_cache_and_long_prompts_have_their_rates(house: House) -> None:
    caller, model = await _spender(house), _new_model()
    tiers = [{"above": 999, "usd": "200"}]
    price = {"input_usd": {"usd": "100", "tiers": tiers}, "output_usd": "0", "cached_usd": "10"}
    version = await _set(house, model, {**price, "cache_write_usd": "125"})
    runs = [await _paid(caller, model, f"[simulate tokens={n},1 cache=600,200]") for n in (999, 1000)]
    told = [await _charged(house, caller, run_id) for run_id in runs]
    usd_millionths = (199 * 100 + 600 * 10 + 200 * 125, 200 * 200 + 600 * 10 + 200 * 125)
    assert told == [(micros * 100, version) for micros in usd_millionths]


async def test_a_withdrawn_price_holds_no_more(house: House) -> None:
    caller, model = await _spender(house), _new_model()
    admin = await house.caller("admin", "admin")
    await _set(house, model, CHEAP)
    (await admin.http.delete(f"/api/admin/prices/{model}")).raise_for_status()
    refused = await caller.ask(ASK, flow="deep_analysis", model=model)
    assert error_of(refused) == (422, "price_unknown")
    shown = await admin.get(f"/api/admin/prices/{model}")
    assert shown["current"] is None
    assert [each["price"] is None for each in shown["overrides"]] == [True, False]


async def test_what_was_held_before_a_change_is_rated_as_it_was_held(house: House) -> None:
    caller, model = await _spender(house), _new_model()
    before = await _set(house, model, CHEAP)
    running = asyncio.create_task(_paid(caller, model, "[simulate tokens=10,5 first_token_ms=2000]"))

    async def is_held() -> bool:
        return bool((await caller.get("/api/credits"))["held_micros"])

    await eventually(is_held, "the run has its hold")
    await _set(house, model, DEAR)
    assert not running.done()
    assert await _charged(house, caller, await running) == (COST, before)
    await house.check_ledger(caller, 1_000_000_000 - COST)


async def test_a_period_is_rated_again_and_its_difference_posted_once(house: House, tmp_path: Path) -> None:
    caller, model = await _spender(house), _new_model()
    await _set(house, model, DEAR)
    since = datetime.now(UTC)
    for _ in range(2):
        await _charged(house, caller, await _paid(caller, model))
    period = ("--from", since.isoformat(), "--to", datetime.now(UTC).isoformat(), "--model", model)
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"prices": {model: CHEAP}}))
    rerate = ("ledger", "rerate", *period, "--prices", str(file))
    charged = 1_000_000_000 - 20 * COST
    await house.check_ledger(caller, charged)

    code, told = await latchkey(house, *rerate, "--format", "ndjson")
    assert code == 0, told
    total = {"attempts": 2, "unrated": 0, "charged_micros": 20 * COST, "rated_micros": 2 * COST}
    sums = {**total, "difference_micros": -18 * COST}
    assert [json.loads(line) for line in told.splitlines()] == [
        {"kind": "model", "model": model, **sums},
        {"kind": "user", "user": caller.user_id, **sums},
        {"kind": "total", **sums},
    ]
    await house.check_ledger(caller, charged)

    for end in ("", " (posted before)"):
        code, told = await latchkey(house, *rerate, "--post", "too-dear")
        assert code == 0, told
        assert f"too-dear: {caller.user_id} +3.6{end}\n" in told
        await house.check_ledger(caller, charged + 18 * COST)
    [newest, *_] = (await caller.get("/api/credits/statement"))["items"]
    assert (newest["kind"], newest["amount_micros"]) == ("adjustment", 18 * COST)
    assert newest["reason"].endswith(f", {model}: too-dear")

    code, told = await latchkey(house, *rerate, "--post", "again")
    assert (code, "corrected before, as too-dear" in told) == (1, True), told
    await house.check_ledger(caller, charged + 18 * COST)


async def test_the_list_of_models_tells_it_on_every_edge(pair: House) -> None:
    """One edge hears of it from billing, beside its requests."""
    model = "groq/llama-3.1-8b-instant"
    version = await _set(pair, model, CHEAP)
    for url in pair.urls:
        caller = await pair.caller_at(url, f"reader-{secrets.token_hex(4)}")

        async def is_told(caller: Caller = caller) -> bool:
            items = (await caller.get("/api/models?provider=groq&q=llama-3.1-8b-instant"))["items"]
            (found,) = [item for item in items if item["id"] == model]
            told = found["input_usd"], found["output_usd"], found["price_version"]
            return bool(told == ("100", "200", version))

        await eventually(is_told, f"{url} tells the price")
