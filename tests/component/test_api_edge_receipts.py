"""Receipts: what a run used and cost."""

import asyncio
from uuid import UUID

import pytest

from services.api_edge.domain.runs import RunRecord
from shared.kernel.ids import new_id
from shared.kernel.names import KeySource
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_billing import billed
from tests.fakes.api_edge_worker import Tell, answers

pytestmark = pytest.mark.component


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


async def test_a_kept_run_that_goes_on_unheard_has_no_final_receipt() -> None:
    ending = asyncio.Event()

    async def second_attempt(tell: Tell) -> None:
        tell.started()
        await ending.wait()
        await answers(tell)

    edge = Edge()
    edge.bus.worker = second_attempt
    body = {"messages": [{"role": "user", "content": "hello"}]}
    async with edge.client() as alice:
        run_id = (await alice.post("/api/runs", json=body)).json()["run_id"]
        edge.billing.attempts = [billed(UUID(run_id), source=KeySource.USER, charged_micros=0)]
        early = await alice.get(f"/api/runs/{run_id}/receipt")
        asked = await alice.post("/api/user/deduct-credits", json={"run_id": run_id})
        ending.set()
        late = await alice.get(f"/api/runs/{run_id}/receipt")
    assert (early.json()["status"], asked.status_code) == ("pending", 202)
    assert late.json()["status"] == "final"


@pytest.mark.parametrize("whose", ["bobs", "nobodys", "no_id"])
async def test_anothers_receipt_is_not_found(whose: str) -> None:
    edge = Edge()
    bobs = _run_of(edge, "bob")
    edge.billing.attempts = [billed(next(iter(edge.runs.runs)), "bob")]
    run_id = {"bobs": bobs, "nobodys": str(new_id()), "no_id": "../x"}[whose]
    async with edge.client() as alice:
        answer = await alice.get(f"/api/runs/{run_id}/receipt")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
