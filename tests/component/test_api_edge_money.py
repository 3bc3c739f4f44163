"""Credits, grants, usage and receipts."""

import asyncio
from typing import Any

import pytest

from services.api_edge.ports import RunRecord
from shared.kernel.errors import ServiceUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KeySource
from tests.fakes.api_edge import Edge, billed

pytestmark = pytest.mark.component

GRANT: dict[str, Any] = {"user_id": "alice", "credits": 5, "idempotency_key": "first"}


async def test_an_administrator_grants_credits_once_a_key() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin, edge.client() as alice:
        first = await admin.post("/api/admin/credits/grants", json=GRANT)
        again = await admin.post("/api/admin/credits/grants", json=GRANT)
        other = await admin.post("/api/admin/credits/grants", json={**GRANT, "credits": 6})
        balance = (await alice.get("/api/credits")).json()["balance"]
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.json() == {
        "transfer_id": first.json()["transfer_id"],
        "user_id": "alice",
        "credits": "5",
        "credits_micros": 5_000_000,
        "balance": "5",
        "balance_micros": 5_000_000,
        "idempotency_key": "first",
        "created_at": "2026-01-01T12:00:00Z",
    }
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert balance == "5"


@pytest.mark.parametrize(
    ("amount", "micros"),
    [(1, 10**6), (0.1, 100_000), ("0.000001", 1), ("5.25", 5_250_000), (1e3, 10**9), (10**9, 10**15)],
)
async def test_credits_are_exact(amount: object, micros: int) -> None:
    async with Edge().client("lk_admin") as admin:
        answer = await admin.post("/api/admin/credits/grants", json={**GRANT, "credits": amount})
    assert (answer.status_code, answer.json()["credits_micros"]) == (201, micros)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"credits": 0}, "credits"),
        ({"credits": -1}, "credits"),
        ({"credits": "0.0000001"}, "credits"),
        ({"credits": 10**9 + 1}, "credits"),
        ({"credits": "1e999999999"}, "credits"),
        ({"credits": "NaN"}, "credits"),
        ({"user_id": "sk-canary-0123456789"}, "user_id"),
        ({"idempotency_key": "sk-canary-0123456789"}, "idempotency_key"),
        ({"credits": "Infinity"}, "credits"),
        ({"credits": "five"}, "credits"),
        ({"credits": True}, "credits"),
        ({"credits": [5]}, "credits"),
        ({"credits": None}, "credits"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\x00b"}, "user_id"),
        ({"user_id": "u" * 129}, "user_id"),
        ({"user_id": 5}, "user_id"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "a\nb"}, "idempotency_key"),
        ({"idempotency_key": "k" * 201}, "idempotency_key"),
        ({"idempotency_key": None}, "idempotency_key"),
    ],
)
async def test_a_bad_grant_is_refused(change: dict[str, object], param: str) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.post("/api/admin/credits/grants", json={**GRANT, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["param"] == param
    assert edge.billing.grants == {}


async def test_only_administrators_grant() -> None:
    edge = Edge()
    async with edge.client() as alice, edge.client(None) as nobody:
        forbidden = await alice.post("/api/admin/credits/grants", json=GRANT)
        unknown = await nobody.post("/api/admin/credits/grants", json=GRANT)
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "forbidden")
    assert (unknown.status_code, unknown.json()["code"]) == (401, "unauthenticated")
    assert edge.billing.grants == {}


async def test_credits_are_decimal_strings_beside_micros() -> None:
    edge = Edge()
    edge.billing.held_micros = 250_000
    async with edge.client("lk_admin") as admin, edge.client() as alice:
        await admin.post("/api/admin/credits/grants", json=GRANT)
        answer = await alice.get("/api/credits")
    assert answer.json() == {
        "balance": "5",
        "balance_micros": 5_000_000,
        "held": "0.25",
        "held_micros": 250_000,
        "available": "4.75",
        "available_micros": 4_750_000,
        "receivable": "0",
        "receivable_micros": 0,
    }


async def test_usage_is_paged_newest_first() -> None:
    edge = Edge()
    runs = [new_id() for _ in range(3)]
    edge.billing.attempts = [billed(run_id) for run_id in runs] + [billed(new_id(), "bob")]
    async with edge.client() as alice:
        first = (await alice.get("/api/usage", params={"limit": 2})).json()
        rest = (await alice.get("/api/usage", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    seen = [item["run_id"] for page in (first, rest) for item in page["items"]]
    assert seen == [str(run_id) for run_id in reversed(runs)]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", "1e9", ""])
async def test_a_bad_limit_is_refused(limit: str) -> None:
    async with Edge().client() as alice:
        answer = await alice.get("/api/usage", params={"limit": limit})
    assert (answer.status_code, answer.json()["param"]) == (422, "limit")


def _run_of(edge: Edge, user_id: str = "alice") -> str:
    run_id = new_id()
    edge.runs.runs[run_id] = RunRecord(run_id, user_id, "chat", "openai/gpt-4o-mini", stream=False)
    return str(run_id)


async def test_a_receipt_is_final_once_billing_has_seen_the_run() -> None:
    edge = Edge()
    run_id = _run_of(edge)
    edge.billing.attempts = [billed(next(iter(edge.runs.runs)))]
    async with edge.client() as alice:
        receipt = (await alice.get(f"/api/runs/{run_id}/receipt")).json()
    assert (receipt["run_id"], receipt["status"]) == (run_id, "final")
    assert [a["charged"] for a in receipt["attempts"]] == ["0.0015"]
    assert receipt["totals"]["charged_micros"] == 1500
    assert [entry["key_source"] for entry in receipt["apiKeyUsageLog"]] == ["platform"]
    assert receipt["apiKeyUsageSummary"]["used_platform_key"]
    assert edge.billing.asked == 1


async def test_a_receipt_waits_for_billing_a_little() -> None:
    edge = Edge()
    run_id = _run_of(edge)
    async with edge.client() as alice:
        asked = asyncio.create_task(alice.get(f"/api/runs/{run_id}/receipt"))
        while not edge.billing.asked:
            await asyncio.sleep(0)
        edge.billing.attempts = [billed(next(iter(edge.runs.runs)), source=KeySource.USER, charged_micros=0)]
        receipt = (await asked).json()
    assert receipt["status"] == "final"
    assert receipt["apiKeyUsageSummary"] == {
        "total": 1,
        "by_key_source": {"user": 1},
        "used_platform_key": False,
        "used_user_key": True,
    }


async def test_a_receipt_is_pending_until_then() -> None:
    edge = Edge()
    run_id = _run_of(edge)
    async with edge.client() as alice:
        answer = await alice.get(f"/api/runs/{run_id}/receipt")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["attempts"]) == ("pending", [])
    assert edge.billing.asked == 3


async def test_a_run_that_still_runs_has_no_final_receipt() -> None:
    edge = Edge()
    run_id = _run_of(edge)
    known = next(iter(edge.runs.runs))
    edge.billing.attempts = [billed(known, source=KeySource.USER)]
    edge.waiting.open(known)
    async with edge.client() as alice:
        answer = await alice.get(f"/api/runs/{run_id}/receipt")
    assert (answer.json()["status"], len(answer.json()["attempts"])) == ("pending", 1)


@pytest.mark.parametrize("whose", ["bobs", "nobodys", "no_id"])
async def test_anothers_receipt_is_not_found(whose: str) -> None:
    edge = Edge()
    bobs = _run_of(edge, "bob")
    edge.billing.attempts = [billed(next(iter(edge.runs.runs)), "bob")]
    run_id = {"bobs": bobs, "nobodys": str(new_id()), "no_id": "../x"}[whose]
    async with edge.client() as alice:
        answer = await alice.get(f"/api/runs/{run_id}/receipt")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_without_billing_there_is_a_typed_error() -> None:
    edge = Edge()
    edge.billing.error = ServiceUnavailableError(service="billing", retry_after_s=2)
    async with edge.client() as alice:
        answers = [
            await alice.get("/api/credits"),
            await alice.get("/api/usage"),
            await alice.get(f"/api/runs/{_run_of(edge)}/receipt"),
        ]
    for answer in answers:
        assert (answer.status_code, answer.json()["service"]) == (503, "billing")
        assert answer.headers["retry-after"] == "2"
