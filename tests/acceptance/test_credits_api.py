"""Money as frontends and administrators meet it: over HTTP, on real parts."""

import asyncio
import secrets
from typing import Any, Final

import httpx2
import pytest

from tests.acceptance.callers import Caller, credits_of, error_of
from tests.acceptance.house import House, eventually

pytestmark = pytest.mark.acceptance

DEDUCT: Final = "/api/user/deduct-credits"
ADJUST: Final = "/api/admin/credits/adjustments"
MUCH: Final = 5_000_000
EXPIRE: Final = (
    "UPDATE billing.holds SET state = 'expired' WHERE user_id = $1 AND state = 'held' RETURNING run_id"
)
"""What billing's sweep does, before the time."""


async def told_of(caller: Caller, run_id: str, **claims: object) -> dict[str, Any]:
    """What a frontend is told when it would deduct for a run, once billing has seen it."""
    told: dict[str, Any] = {}

    async def is_told() -> bool:
        answer = (await caller.http.post(DEDUCT, json={"run_id": run_id, **claims})).raise_for_status()
        assert answer.status_code == 200 or answer.headers["retry-after"]
        told.update(answer.json())
        return answer.status_code == 200

    await eventually(is_told, f"run {run_id} is billed")
    return told


async def statement(caller: Caller, limit: int = 2) -> list[dict[str, Any]]:
    """All of it, page by page; it comes to what the user has and owes. Oldest first."""
    entries: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        page = await caller.get(f"/api/credits/statement?limit={limit}{cursor}")
        entries = [*reversed(page["items"]), *entries]
    has = await caller.get("/api/credits")
    assert sum(entry["amount_micros"] for entry in entries) == has["balance_micros"]
    assert sum(entry["receivable_change_micros"] for entry in entries) == has["receivable_micros"]
    balance = 0
    for entry in entries:
        balance += entry["amount_micros"]
        assert entry["balance_micros"] == balance
    return entries


async def adjust(admin: Caller, caller: Caller, micros: int, **more: object) -> httpx2.Response:
    body = {"user_id": caller.user_id, "credits": credits_of(micros), "reason": "an acceptance test"}
    return await admin.http.post(ADJUST, json={**body, "idempotency_key": secrets.token_hex(8), **more})


async def feature(caller: Caller, micros: int, key: str) -> httpx2.Response:
    body = {"feature": "export", "credits": credits_of(micros), "idempotency_key": key}
    return await caller.http.post(DEDUCT, json=body)


async def platform_run(caller: Caller, prompt: str = "Hello") -> httpx2.Response:
    return (await caller.ask(prompt, flow="deep_analysis", max_tokens=40)).raise_for_status()


async def test_a_run_on_the_users_own_key_is_bypassed_and_nothing_moves(house: House) -> None:
    caller = await house.caller("owner")
    await house.grant(caller, MUCH)
    await caller.store_key(f"sk-sim-{secrets.token_hex(8)}")
    run = (await caller.ask("My own")).raise_for_status()
    run_id = run.headers["latchkey-run-id"]

    told = await told_of(caller, run_id)
    again = await asyncio.gather(*(told_of(caller, run_id) for _ in range(10)))

    assert (told["bypassed"], told["reason"], told["charged"]) == (True, "byok", "0")
    assert told["balance_micros"] == told["available_micros"] == MUCH
    assert all(one == told for one in again)
    assert [entry["kind"] for entry in await statement(caller)] == ["grant"]
    await house.check_ledger(caller, MUCH)


async def test_a_platform_run_is_not_charged_a_second_time(house: House) -> None:
    caller = await house.caller("payer")
    await house.grant(caller, MUCH)
    run_id = (await platform_run(caller)).headers["latchkey-run-id"]

    told = await told_of(caller, run_id)
    claimed = await told_of(
        caller, run_id, byok=True, isByok=True, feature="x", credits=1, idempotency_key="k"
    )

    receipt = await house.receipt(caller, run_id)
    charged = int(receipt["totals"]["charged_micros"])
    assert charged > 0
    assert (told["bypassed"], told["reason"], told["charged_micros"]) == (False, None, charged)
    assert claimed == told
    entries = await statement(caller)
    assert [(entry["kind"], entry["amount_micros"]) for entry in entries] == [
        ("grant", MUCH),
        ("charge", -charged),
    ]
    (attempt,) = receipt["attempts"]
    assert (entries[1]["run_id"], entries[1]["cause_id"]) == (run_id, attempt["usage_id"])
    await house.check_ledger(caller, MUCH - charged)


async def test_anothers_run_is_nobodys_business(house: House) -> None:
    caller, other = await house.caller("payer"), await house.caller("other")
    await house.grant(caller, MUCH)
    run_id = (await platform_run(caller)).headers["latchkey-run-id"]
    answer = await other.http.post(DEDUCT, json={"run_id": run_id})
    assert error_of(answer) == (404, "not_found")


async def test_what_comes_after_the_hold_is_owed_and_the_next_grant_pays_it_first(house: House) -> None:
    caller = await house.caller("late")
    await house.grant(caller, MUCH)
    running = asyncio.create_task(platform_run(caller, "[simulate latency_ms=2000] Slowly"))

    async def is_expired() -> bool:
        return bool(await house.rows(EXPIRE, caller.user_id))

    await eventually(is_expired, "the run's hold expires while it runs")
    run_id = (await running).headers["latchkey-run-id"]
    charged = int((await told_of(caller, run_id))["charged_micros"])
    owing = await caller.get("/api/credits")
    await house.grant(caller, 3 * charged)

    assert charged > 0
    assert (owing["balance_micros"], owing["receivable_micros"]) == (MUCH, charged)
    entries = [
        (entry["kind"], entry["amount_micros"], entry["receivable_change_micros"])
        for entry in await statement(caller)
    ]
    assert entries == [
        ("grant", MUCH, 0),
        ("receivable", 0, charged),
        ("grant", 3 * charged, 0),
        ("repayment", -charged, -charged),
    ]
    await house.check_ledger(caller, MUCH + 2 * charged)


async def test_corrections_are_new_entries(house: House) -> None:
    caller, admin = await house.caller("corrected"), await house.caller("admin", "admin")
    await house.grant(caller, MUCH)
    run_id = (await platform_run(caller)).headers["latchkey-run-id"]
    charged = int((await told_of(caller, run_id))["charged_micros"])

    back = await adjust(admin, caller, charged, run_id=run_id)
    over = await adjust(admin, caller, -MUCH - 7)
    refused = await adjust(caller, caller, 1)

    assert (back.status_code, back.json()["balance_micros"]) == (201, MUCH)
    assert (over.status_code, over.json()["receivable_change_micros"]) == (201, 7)
    assert error_of(refused) == (403, "forbidden")
    entries = await statement(caller)
    assert [entry["kind"] for entry in entries] == [
        "grant",
        "charge",
        "adjustment",
        "adjustment",
        "receivable",
    ]
    assert entries[2]["run_id"] == run_id
    seen = await admin.get(f"/api/admin/credits/{caller.user_id}/statement")
    assert seen["items"] == entries[::-1]
    owing = await admin.get(f"/api/admin/credits/{caller.user_id}")
    assert (owing["balance_micros"], owing["receivable_micros"]) == (0, 7)
    await house.check_ledger(caller, 0)


async def test_a_feature_is_charged_once_a_key_whoever_asks_at_once(house: House) -> None:
    caller = await house.caller("exporter")
    await house.grant(caller, 1_000_000)

    answers = await asyncio.gather(*(feature(caller, 600_000, "one") for _ in range(50)))
    other = await feature(caller, 500_000, "one")
    missing = await feature(caller, 600_000, "two")

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["transfer_id"] for answer in answers}) == 1
    assert error_of(other) == (409, "conflict")
    assert error_of(missing) == (402, "insufficient_credits")
    assert missing.json()["missing_micros"] == 200_000
    entries = [(entry["kind"], entry["amount_micros"], entry["reason"]) for entry in await statement(caller)]
    assert entries == [("grant", 1_000_000, None), ("deduction", -600_000, "export")]
    await house.check_ledger(caller, 400_000)


async def test_usage_adds_up_by_whose_key_it_was(house: House) -> None:
    caller, admin = await house.caller("both"), await house.caller("admin", "admin")
    await house.grant(caller, MUCH)
    runs = [(await platform_run(caller)).headers["latchkey-run-id"]]
    await caller.store_key(f"sk-sim-{secrets.token_hex(8)}")
    runs += [(await caller.ask("My own")).raise_for_status().headers["latchkey-run-id"] for _ in range(2)]
    charged = [(await told_of(caller, run_id))["charged_micros"] for run_id in runs]

    page = await caller.get("/api/usage?limit=2")
    rest = await caller.get(f"/api/usage?limit=2&cursor={page['next_cursor']}")
    own = await admin.get(f"/api/admin/usage?user_id={caller.user_id}&key_source=user")

    totals = page["totals"]
    assert sorted(item["run_id"] for item in (*page["items"], *rest["items"])) == sorted(runs)
    assert (totals["attempts"], totals["byok_attempts"], totals["byok_share"]) == (3, 2, "0.6667")
    assert (totals["charged_micros"], charged[1:]) == (charged[0], [0, 0])
    assert totals["cost_micros"] > totals["charged_micros"]
    assert (own["totals"]["attempts"], own["totals"]["charged_micros"]) == (2, 0)
    assert {item["user_id"] for item in own["items"]} == {caller.user_id}
