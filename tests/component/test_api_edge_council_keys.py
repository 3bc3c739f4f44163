"""A council's `Idempotency-Key`: one council as long as it is worth something, then it may be used anew."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest

from services.api_edge.domain.council import Council
from shared.kernel.names import Outcome
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import Tell, is_silent

pytestmark = pytest.mark.component

MEMBERS = ["openai/gpt-4o-mini", "openai/gpt-4.1"]
BODY = {"members": MEMBERS, "model": "openai/gpt-4o", "messages": [{"role": "user", "content": "2 + 2?"}]}
HEADERS = {"X-OpenAI-Key": "sk-0123456789abcdef", "Idempotency-Key": "k-1"}
LONG_AGO = timedelta(seconds=31)


async def call(client: httpx2.AsyncClient, body: object = None) -> dict[str, Any]:
    answer = await client.post("/api/councils", json=body or BODY, headers=HEADERS)
    assert answer.status_code == 202, answer.text
    called: dict[str, Any] = answer.json()
    return called


async def hear(client: httpx2.AsyncClient, called: dict[str, Any]) -> str:
    return (await client.get(f"/api/councils/{called['council_id']}/events")).text


def age(edge: Edge, called: dict[str, Any]) -> Council:
    """Let it have been called a while ago."""
    council = edge.councils.kept[UUID(called["council_id"])]
    aged = replace(council, created_at=council.created_at - LONG_AGO)
    edge.councils.kept[aged.council_id] = aged
    return aged


def all_ended(edge: Edge, outcome: Outcome, *, is_kept: bool) -> None:
    for run_id, run in edge.runs.kept.items():
        edge.runs.kept[run_id] = replace(run, outcome=outcome, end=run.end if is_kept else None)


async def with_nobody_asked(edge: Edge, client: httpx2.AsyncClient) -> Council:
    """Its edge was killed before it asked the members."""
    edge.bus.worker = is_silent
    council = age(edge, await call(client))
    edge.runs.kept.clear()
    return council


async def test_members_that_nobody_asked_leave_the_key_free() -> None:
    edge = Edge()
    async with edge.client() as client:
        dead = await with_nobody_asked(edge, client)
        first, again = await asyncio.gather(call(client), call(client))
        third = await call(client)
    assert first["council_id"] == again["council_id"] == third["council_id"]
    assert first["council_id"] != str(dead.council_id)
    assert edge.councils.kept[dead.council_id].idempotency is None
    assert dead.synthesis_id in edge.bus.cancelled


async def test_members_that_may_still_be_asked_do_not() -> None:
    edge = Edge()
    async with edge.client() as client:
        dead = await with_nobody_asked(edge, client)
        edge.councils.kept[dead.council_id] = replace(dead, created_at=dead.created_at + LONG_AGO)
        assert (await call(client))["council_id"] == str(dead.council_id)


async def test_one_refused_while_others_are_still_to_be_asked_does_not() -> None:
    edge = Edge()
    edge.bus.worker = is_silent
    async with edge.client() as client:
        called = await call(client)
        edge.runs.kept.popitem()
        all_ended(edge, Outcome.REFUSED, is_kept=True)
        assert (await call(client))["council_id"] == called["council_id"]


async def test_members_that_were_all_refused_leave_the_key_free_to_another_request() -> None:
    edge = Edge()
    edge.bus.worker = is_silent
    async with edge.client() as client:
        refused = await call(client)
        all_ended(edge, Outcome.REFUSED, is_kept=True)
        other = await call(client, {**BODY, "temperature": 1})
    assert refused["council_id"] != other["council_id"]


async def test_answers_that_are_not_kept_any_more_leave_the_key_free() -> None:
    edge = Edge()
    async with edge.client() as client:
        first = await call(client)
        assert "event: final_response" in await hear(client, first)
        assert (await call(client))["council_id"] == first["council_id"]
        all_ended(edge, Outcome.COMPLETED, is_kept=False)
        again = await call(client)
        assert "event: final_response" in await hear(client, again)
    assert first["council_id"] != again["council_id"]


async def test_one_answer_that_was_paid_for_keeps_it() -> None:
    async def only_one_answers(tell: Tell) -> None:
        if tell.run.model == MEMBERS[0]:
            tell.completed()

    edge = Edge()
    edge.bus.worker = only_one_answers
    async with edge.client() as client:
        called = await call(client)
        await asyncio.sleep(0.05)
        other = next(run_id for run_id, run in edge.runs.kept.items() if run.outcome is None)
        edge.runs.kept[other] = replace(edge.runs.kept[other], outcome=Outcome.REFUSED)
        age(edge, called)
        assert (await call(client))["council_id"] == called["council_id"]
